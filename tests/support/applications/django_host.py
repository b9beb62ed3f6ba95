"""``python -m support.applications.django_host runserver --noreload PORT``: a site with its server.

Django's ``runserver`` loads the WSGI application that ``WSGI_APPLICATION`` names.
"""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

from socket_server import create_app

NAME = "support.applications.django_host"

if __name__ == "__main__":
    settings.configure(
        ROOT_URLCONF=NAME,
        WSGI_APPLICATION=f"{NAME}.app",
        SECRET_KEY="of Django itself, used for nothing here",
        ALLOWED_HOSTS=["127.0.0.1"],
        USE_TZ=True,
    )
    execute_from_command_line(sys.argv)
else:
    urlpatterns = [path("", lambda request: HttpResponse("the application's own page"))]
    app = create_app(wsgi_app=get_wsgi_application())
