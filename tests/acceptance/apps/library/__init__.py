"""A Django library whose staff import books in the admin, and watch.

gunicorn apps.library.site:application
celery -A apps.library.site:celery worker (DJANGO_SETTINGS_MODULE=apps.library.settings)
taskbridge serve
"""
