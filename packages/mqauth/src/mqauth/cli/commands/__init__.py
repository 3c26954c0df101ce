"""The subcommands, one module each; see `mqauth.cli`."""
