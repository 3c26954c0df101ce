"""Celery and Kombu on RabbitMQ with credentials that live minutes.

Installing this distribution is enough for Celery; with bare Kombu, import this package once.
"""

from celery_mqauth.registration import register_schemes

__all__ = ["register_schemes"]
