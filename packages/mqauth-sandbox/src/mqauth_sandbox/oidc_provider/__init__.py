"""oidc-provider, a certified OpenID provider, beside the sandbox's own issuer: a second opinion."""
