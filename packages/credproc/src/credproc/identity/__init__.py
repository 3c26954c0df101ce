"""Who signs: certificate, chain and private key."""
