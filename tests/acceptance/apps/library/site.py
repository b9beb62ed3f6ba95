import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.library.settings")

import django
from celery import Celery
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

import bridge

# The Celery application as Django's documentation of Celery has it, and the one line.
celery = Celery("library")
celery.config_from_object("django.conf:settings", namespace="CELERY")
celery.autodiscover_tasks()
bridge.install(celery)

django.setup()

from django.contrib import admin  # noqa: E402 - Django must be set up before its models
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

icon = path("favicon.ico", lambda request: HttpResponse(status=204))
urlpatterns = [path("admin/", admin.site.urls), icon]
application = StaticFilesHandler(get_wsgi_application())
