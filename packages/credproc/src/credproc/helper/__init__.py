"""The other backend: AWS's own `aws_signing_helper`, run as a subprocess."""
