"""Walks from the certificate to the SDK, link by link, to the first one that is broken."""
