"""`python -m milo.cli`: the command line without the installed script."""

from milo.cli import main

main()
