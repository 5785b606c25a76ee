"""Where commands draw: the terminal, or a pipe or file that is wide enough for every name to be whole."""

import sys

from rich.console import Console

PIPED_COLUMNS = 160


def screen() -> Console:
    """Standard output. Not a terminal, and no COLUMNS set: wide, since a table cut to 80 says little."""
    found = Console(highlight=False)
    if not sys.stdout.isatty() and "COLUMNS" not in found._environ:
        found.width = PIPED_COLUMNS
    return found
