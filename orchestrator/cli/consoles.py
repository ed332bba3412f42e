"""Where tables are printed: as wide as the terminal, and unbroken into a pipe or a file."""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

UNBROKEN: Final = 10_000
"""Columns of what nobody looks at in a terminal: an id that is cut over two lines is found by no program."""


def console() -> "Console":
    """For standard output. Whoever sets `COLUMNS` gets as many."""
    from rich.console import Console

    made = Console()
    return made if made.is_terminal or os.environ.get("COLUMNS") else Console(width=UNBROKEN)
