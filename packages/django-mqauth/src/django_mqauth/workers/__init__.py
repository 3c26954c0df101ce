"""What Celery's workers say about their credentials, and what their silence means."""
