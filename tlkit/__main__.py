"""`python -m tlkit` is the `tlkit` command."""

from tlkit.cli.main import main

main()
