"""Settings: everything about credentials stands in MQAUTH."""

import os
from pathlib import Path

import django_mqauth

FOLDER = Path(os.environ.get("SHOP_FOLDER", Path(__file__).resolve().parent.parent))
"""Where the database lies."""

DEBUG = os.environ.get("SHOP_DEBUG", "1") == "1"
# Several processes serve this project, and each of them must understand the others' sessions.
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "for this example, and only where it was started")
# Part of the path of the health endpoints; make one with `secrets.token_urlsafe()`.
HEALTH_CHECK_SECRET = os.environ.get("HEALTH_CHECK_SECRET", "dev" if DEBUG else "")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "health_check",
    "django_mqauth",
    "orders",
]

# Who signs in where. The client's name and the file of its secret come from the environment
# (MQAUTH_OAUTH2_CLIENT_ID, MQAUTH_OAUTH2_CLIENT_SECRET_FILE), as does the issuer.
MQAUTH = {
    "default": {
        "BROKER": os.environ.get(
            "MQAUTH_SANDBOX_BROKER_ADDRESS", "amqps://rabbit.example.com/prod"
        ),
        "PROVIDER": "oauth2",
    }
}
if "MQAUTH_SANDBOX_CA_FILE" in os.environ:
    MQAUTH["default"]["TLS"] = {"ca_certs": os.environ["MQAUTH_SANDBOX_CA_FILE"]}

CELERY_BROKER_URL = django_mqauth.broker_url()
CELERY_BROKER_USE_SSL = django_mqauth.broker_use_ssl()
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
CELERY_TASK_ACKS_LATE = True
CELERY_BEAT_SCHEDULE = {
    "a standing order": {"task": "orders.tasks.standing_order", "schedule": 20.0}
}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "shop.security.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "shop.urls"
TEMPLATES = [
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
]
WSGI_APPLICATION = "shop.wsgi.application"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"short": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "short"}},
    "loggers": {"django_mqauth": {"handlers": ["console"], "level": "INFO"}},
}
