"""`python -m mqauth`: the command."""

from mqauth.cli import main

main()
