"""Providers of oauth2 as a source builds them, and how their fetches fail."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Callable

import pytest

from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import MQAuthError
from mqauth.provider import Provider
from packages.mqauth.tests.oauth2.servers import Server

SECRET = "canary/secret+with=signs"

Build = Callable[..., Provider]


def build(**options: object) -> Provider:
    """Build the provider as a source does."""
    resolved = resolve("oauth2", explicit=options, environ={})
    return provider_class("oauth2").from_options(resolved.options)


def asking(server: Server, **options: object) -> Provider:
    """Build a provider that asks a server of the test for tokens."""
    endpoint = {"token_endpoint": f"{server.url}/token"} if "issuer" not in options else {}
    return build(client_id="celery", client_secret=SECRET, **endpoint, **options)


def failure(provider: Provider, timeout: float = 20) -> MQAuthError:
    """Return the error of a fetch that must fail, after checking what holds for all of them."""
    with pytest.raises(MQAuthError) as caught:
        provider.fetch(timeout=timeout)
    error = caught.value
    assert "\n" not in str(error)
    assert error.remedy
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    encoded = base64.b64encode(f"celery:{SECRET}".encode()).decode()
    assert SECRET not in shown
    assert encoded not in shown
    return error
