"""What a Celery app asks of its broker, role by role."""
