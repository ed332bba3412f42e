"""Text notes in one folder: how a tool takes a file name from a model without leaving its folder.

The folder is `NOTES_FOLDER`, or `notes` below the working directory. A new note is written at
once; replacing one that exists needs a person.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orchestrator import ToolError, tool

MAX_NOTE_CHARS = 20_000

Name = Annotated[str, Field(max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$")]


def _folder() -> Path:
    folder = Path(os.environ.get("NOTES_FOLDER", "notes"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _path(name: str) -> Path:
    """The note's file. Links are resolved first: where a path leads counts, not how it is spelled."""
    root = _folder()
    path = (root / f"{name}.txt").resolve()
    if path.parent != root:
        raise ToolError("A note's name is no path.")
    return path


@tool(approval="allow", idempotent=True)
def read_note(name: Name) -> str:
    """Read a note.

    Args:
        name: The note's name, without folder and extension.
    """
    path = _path(name)
    if not path.is_file():
        raise ToolError(f"There is no note {name!r}.")
    return path.read_text(encoding="utf-8")[:MAX_NOTE_CHARS]


@tool(approval="ask", when="args.replace")
def write_note(
    name: Name, text: Annotated[str, Field(max_length=MAX_NOTE_CHARS)], replace: bool = False
) -> str:
    """Write a note; an existing one is kept unless it is to be replaced.

    Args:
        name: The note's name, without folder and extension.
        text: What it says.
        replace: Overwrite a note of that name.
    """
    path = _path(name)
    try:
        with path.open("w" if replace else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ToolError(f"A note {name!r} exists already.") from None
    return f"Wrote {len(text)} characters to {name!r}."
