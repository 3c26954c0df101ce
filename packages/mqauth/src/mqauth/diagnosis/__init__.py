"""What the `mqauth` command and frameworks tell about credentials, without any command line."""
