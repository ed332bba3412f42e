"""`Secret()`: a mark on a tool's parameter whose value nobody is to see."""

import traceback
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

MARK: Final = "x-secret"
"""In a schema as Pydantic writes it; Gemini's subset has no word for it, so it is told nothing."""


class Secret:
    """Keeps an argument from view: `password: Annotated[str, Secret()]`.

    People see `[hidden, 40 characters]` in its place, in Slack, the API and the record; the tool gets the
    value, and the digest covers it. Who may change the arguments may put another in its place unseen.

    The model wrote the value, so Gemini has it. A run's input, the model's words, a preview and a result are
    shown as they are; the input of a restart tells again what was called, secrets included. The digest and
    the audit log are unkeyed SHA-256 over all the arguments: who has them can try out a short value.
    """

    @staticmethod
    def __get_pydantic_json_schema__(core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), MARK: True}


def is_secret(annotation: Any) -> bool:
    """Whether a parameter itself is marked, by `Secret()` or by the bare class."""
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return any(mark is Secret or isinstance(mark, Secret) for mark in marks)


def in_log(error: BaseException, *, secret: bool) -> dict[str, Any]:
    """What the log is told of an exception: all of it, or only its kind and where it was raised.

    Args:
        secret: Something kept from view was at hand there, which the words of an exception may quote.
    """
    kind = type(error).__name__
    if not secret:
        return {"error": kind, "exc_info": error}
    frames = traceback.extract_tb(error.__traceback__)
    return {"error": kind, "at": [f"{f.filename}:{f.lineno} {f.name}" for f in frames]}


def marked(schema: Any) -> bool:
    """Whether the mark stands anywhere in a schema."""
    if isinstance(schema, list):
        return any(map(marked, schema))
    if not isinstance(schema, dict):
        return False
    return schema.get(MARK) is True or any(map(marked, schema.values()))
