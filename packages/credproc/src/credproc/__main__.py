"""`python -m credproc`."""

from credproc.cli import main

main()
