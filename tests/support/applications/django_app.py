"""``python -m support.applications.django_app runserver --noreload PORT``"""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from bridge import Bridge

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="of Django itself, used for nothing here",
    ALLOWED_HOSTS=["127.0.0.1"],
    USE_TZ=True,
)
bridge = Bridge()


@csrf_exempt
@require_POST
def sums(request):
    job = bridge.enqueue("support.add", [20, 22], owner=request.headers["X-User"])
    return JsonResponse({"job": job.id, "token": job.token})


urlpatterns = [path("sums", sums)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
