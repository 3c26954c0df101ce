"""The subcommands: each module here has `register(commands)`, which `credproc.parser` calls."""
