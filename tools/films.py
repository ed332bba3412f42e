"""What stands before and behind the films of a night: a shot list in, the takes people choose among out.

A shot list is a text file of the folder `SHOTLISTS`, or `shotlists` beside this module, with one film in
each line: the scene, a bar, what the film shows. Lines that begin with # are left out.

    harbour | A fishing boat leaves the harbour at dawn, seen from the pier.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from orchestrator import ToolError, tool

MOST_SHOTS = 50
"""Films of one call of `generate_video`."""
MOST_TAKES = 20
"""Files people are shown at once."""

Name = Annotated[str, Field(max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


@tool(approval="allow", idempotent=True)
def read_shotlist(name: Name) -> dict[str, list[str]]:
    """Read a shot list: the scene and the prompt of each film, in order.

    Args:
        name: The list's name, without folder and extension.
    """
    root = Path(os.environ.get("SHOTLISTS") or Path(__file__).parent / "shotlists").resolve()
    path = (root / f"{name}.txt").resolve()
    if path.parent != root or not path.is_file():
        raise ToolError(f"There is no shot list {name!r}.")
    shots = list(_shots(path.read_text(encoding="utf-8")))
    if not 0 < len(shots) <= MOST_SHOTS:
        raise ToolError(f"The shot list {name!r} has {len(shots)} films; 1 to {MOST_SHOTS} are made.")
    return {"scenes": [scene for scene, _ in shots], "prompts": [prompt for _, prompt in shots]}


def _shots(text: str) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(text.splitlines(), 1):
        if not row.strip() or row.startswith("#"):
            continue
        scene, bar, prompt = (part.strip() for part in row.partition("|"))
        if not (scene and bar and prompt):
            raise ToolError(f"Line {number} of the shot list should be: scene | what the film shows.")
        yield scene, prompt


@tool(approval="allow", idempotent=True)
def best_takes(
    scenes: Annotated[list[str], Field(max_length=MOST_SHOTS)],
    jobs: Annotated[list[dict[str, Any]], Field(max_length=MOST_SHOTS)],
) -> dict[str, Any]:
    """Of each scene the best take, for people to choose among; films that failed are counted.

    The largest file stands for the best, because more moves in it: put your own measure here.

    Args:
        scenes: Of each film, in the order of the shot list.
        jobs: What became of each film, in the same order, as `generate_video` tells it.
    """
    takes: dict[str, dict[str, Any]] = {}
    for scene, job in zip(scenes, jobs, strict=True):
        for file in job["files"]:
            if scene not in takes or file["bytes"] > takes[scene]["bytes"]:
                takes[scene] = file
    if not takes:
        raise ToolError("No film was made.")
    chosen = list(takes.items())[:MOST_TAKES]
    return {
        "files": [file["path"] for _, file in chosen],
        "labels": [scene[:60] for scene, _ in chosen],
        "made": sum(1 for job in jobs if job["files"]),
        "failed": sum(1 for job in jobs if not job["files"]),
    }
