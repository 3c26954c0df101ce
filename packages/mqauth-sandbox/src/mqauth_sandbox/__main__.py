"""Runs the command as `python -m mqauth_sandbox`."""

from mqauth_sandbox.command import main

if __name__ == "__main__":
    main(prog_name="mqauth-sandbox")
