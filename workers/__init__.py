"""The deployable Celery application: its configuration and reference jobs."""
