"""`python -m sealserve`: the command line."""

from sealserve.cli import main

main()
