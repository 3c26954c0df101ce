"""The providers that come with mqauth, one module each."""
