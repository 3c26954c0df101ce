"""`manage.py mqauth_...`."""
