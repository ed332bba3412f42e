"""`choose_media`: the built-in tool by which people are shown finished files and choose one of them.

A workflow has it by naming it under `tools`, or by a step of kind `choose`. Like `ask_human` it never runs.
"""

from typing import Annotated, Final

from pydantic import Field

from orchestrator.domain.choosing import CHOOSE_MEDIA, LABEL_CHARS, MOST_FILES, PATH, faults
from orchestrator.domain.plain import JsonObject
from orchestrator.toolkit.declare import Tool, record_of, tool
from orchestrator.toolkit.human import QUESTION_CHARS
from orchestrator.toolkit.schema import refusal


@tool(name=CHOOSE_MEDIA, approval="ask")
def choose_media(
    files: Annotated[
        list[Annotated[str, Field(pattern=f"^{PATH}$", max_length=512)]],
        Field(min_length=1, max_length=MOST_FILES),
    ],
    question: Annotated[str, Field(min_length=1, max_length=QUESTION_CHARS)] = "Which one?",
    labels: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=LABEL_CHARS)]],
        Field(min_length=1, max_length=MOST_FILES),
    ]
    | None = None,
    again_allowed: bool = True,
) -> None:
    """Show a person finished files, such as films or pictures, and let them choose one.

    The result is {"answer": {"file": ..., "number": ...}}; or {"answer": {"again": true, "note": ...}}
    where none will do and the note says what should be different. An error result says that a person
    declined, or that nobody answered in time.

    Args:
        files: The stored files, as the tool that made them named them; all different.
        question: What the choice is about.
        labels: What each file is called for people, in the same order; else by its name.
        again_allowed: Whether people may ask for others.
    """
    raise NotImplementedError("people answer it, nothing runs")


def _record() -> Tool:
    record = record_of(choose_media)
    assert record is not None  # noqa: S101  declared right above
    return record


TOOL: Final = _record()


def refuse(arguments: JsonObject) -> None:
    """Raises `InvalidError`, for the model, where people cannot be shown that."""
    if found := list(faults(arguments)):
        raise refusal(found)
