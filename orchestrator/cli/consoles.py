"""How answers are printed: lines for programs, tables for people.

A table is as wide as the terminal, and unbroken into a pipe or a file.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNBROKEN: Final = 10_000
"""Columns of what nobody looks at in a terminal: an id that is cut over two lines is found by no program."""


def console() -> "Console":
    """For standard output. Whoever sets `COLUMNS` gets as many."""
    from rich.console import Console

    made = Console()
    return made if made.is_terminal or os.environ.get("COLUMNS") else Console(width=UNBROKEN)


def plain(text: str) -> str:
    """Neighbours' words without what a terminal would obey."""
    return "".join(ch if ch.isprintable() else "?" for ch in text)


def show_lines(found: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, for programs."""
    for one in found:
        click.echo(json.dumps(one))


def show_one(told: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """A JSON object for programs, or lines for people."""
    for line in [json.dumps(told)] if as_json else map(plain, lines):
        click.echo(line)


def show_list(
    found: Sequence[Mapping[str, Any]],
    *,
    as_json: bool,
    nothing: str,
    columns: Sequence[str],
    cells: Callable[[Mapping[str, Any]], Sequence[object]],
    whole: int = 1,
    more: bool = False,
) -> None:
    """A list line by line for programs, as a table for people; `nothing` is said where it is empty."""
    if as_json:
        show_lines(found)
    elif not found:
        click.echo(nothing)
    else:
        show_table(columns, [cells(one) for one in found], whole=whole, more=more)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: int, more: bool) -> None:
    """For people. The first `whole` columns are never broken."""
    console().print(table(columns, rows, whole=whole))
    if more:
        click.echo("there are more: raise --limit", err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: int) -> "Table":
    """The same, to be shown by the caller."""
    from rich.table import Table
    from rich.text import Text

    made = Table(*columns)
    for column in made.columns[:whole]:
        column.no_wrap = True
    for cells in rows:
        made.add_row(*(Text(plain(str(cell)), overflow="fold") for cell in cells))
    return made
