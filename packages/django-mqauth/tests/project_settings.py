"""Settings of the Django project of these tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def settings(folder: Path) -> dict[str, Any]:
    """Return the settings; `folder` holds the database."""
    return {
        "SECRET_KEY": "of these tests alone",
        "DEBUG": False,
        "ALLOWED_HOSTS": ["testserver", "localhost"],
        "ROOT_URLCONF": "project_urls",
        "INSTALLED_APPS": [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "health_check",
            "django_mqauth",
        ],
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        "DATABASES": {
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}
        },
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "STATIC_URL": "/static/",
        "USE_TZ": True,
        "LOGGING_CONFIG": None,
    }
