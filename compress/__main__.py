"""``python -m compress`` is the command ``lipstill``."""

from compress.cli import main

main()
