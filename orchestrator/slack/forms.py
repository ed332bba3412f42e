"""A tool's arguments as a form, and a filled-in form as arguments again. No I/O.

An unchanged form gives exactly the arguments it was made from. A value that a field of its own could not
bring back as it was, or whose letters an eye could miss, is JSON instead, invisible characters spelled out;
`fields` has a field for each kind of argument.

Source: Slack, "Block elements" (limits of the inputs), "view_submission payload" (`view.state.values`).
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.domain.values import replace
from orchestrator.slack import fields, kit
from orchestrator.slack.entries import LABEL, MISSING, BadEntryError, compact, entry_in, from_json, typed_in
from orchestrator.slack.fields import Read
from orchestrator.slack.kit import Block
from orchestrator.slack.text import line, visible

MOST_FIELDS: Final = 20
"""With more of them, all arguments are one field of JSON."""
MOST_BYTES: Final = 150_000  # of all fields; a view may have 250 kB
MOST_SEEN: Final = 10
"""Options of radio buttons and checkboxes."""
UNSEEN: Final = "holds characters that cannot be seen, spelled out here"
_EMOJI: Final = re.compile("([\u2190-\u2bff\U0001f000-\U0001faff])[\ufe0f\u200d]+")
_SPREAD: Final = {"static_select": "radio_buttons", "multi_static_select": "checkboxes"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: where it stands, how it looks, and how its entry is read.

    Args:
        argument: Its name; empty for the field that holds all of them.
        read: From the element's state to the value, or `MISSING`; raises for what will not do.
    """

    argument: str
    block: Block
    read: Read

    @property
    def block_id(self) -> str:
        return str(self.block["block_id"])


@dataclass(frozen=True, slots=True)
class Filled:
    """A form as it was sent: `arguments`, or `errors` by block id."""

    arguments: dict[str, Any] | None
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one tool's arguments."""

    fields: Sequence[Field]

    @property
    def blocks(self) -> list[Block]:
        return [field.block for field in self.fields]

    def sent(self, values: Mapping[str, Any]) -> bool:
        """Whether every field stood in the window: Slack sends the empty ones too.

        One that did not is not empty: who sent the window off has never seen it.
        """
        return all(field.block_id in values for field in self.fields)

    def filled(self, values: Mapping[str, Any]) -> Filled:
        """Read what was sent.

        Args:
            values: `view.state.values`; what is not of this form's blocks is ignored, a field that is not
                there or not of its shape is an error of that field.
        """
        arguments: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for field in self.fields:
            try:
                value = field.read(entry_in(values, field.block_id))
            except BadEntryError as e:
                errors[field.block_id] = str(e)
                continue
            if not field.argument:
                arguments = value
            elif value is not MISSING:
                arguments[field.argument] = value
        return Filled(None if errors else arguments, errors)

    def unseen(self, values: Mapping[str, Any]) -> dict[str, str]:
        """By block id, where something was typed or pasted that nobody sees, so that nobody can approve it.

        In JSON it can be written as an escape. What makes an emoji is seen with it.
        """
        typed = ((f.block_id, entry_in(values, f.block_id).get("value")) for f in self.fields)
        shown = ((place, *visible(_EMOJI.sub(r"\1", text))) for place, text in typed if isinstance(text, str))
        return {place: line(f"{UNSEEN}: {text}", 500) for place, text, odd in shown if odd}

    def placed(self, problems: Sequence[tuple[str, str]], otherwise: str) -> dict[str, str]:
        """What is wrong with the arguments, at the fields it is about.

        Args:
            problems: (path, text) pairs as `InvalidError.fields` has them.
            otherwise: Said when there are none.
        """
        said: dict[str, list[str]] = {}
        for path, text in problems or [("", otherwise)]:
            field = self._about(path)
            inner = path if not field.argument else path.removeprefix(field.argument).lstrip(".")
            said.setdefault(field.block_id, []).append(f"{inner}: {text}" if inner else text)
        return {block_id: line("; ".join(texts), 500) for block_id, texts in said.items()}

    def _about(self, path: str) -> Field:
        named = [f for f in self.fields if f.argument and (path + ".").startswith(f.argument + ".")]
        return max(named, key=lambda f: len(f.argument), default=self.fields[0])


def spread(form: Form) -> Form:
    """The same with every choice to be seen at once: for at most `MOST_SEEN` of them."""
    return Form([replace(field, block=_spread(field.block)) for field in form.fields])


def _spread(block: Block) -> Block:
    element = block["element"]
    kind = _SPREAD.get(element["type"])
    return block if kind is None else block | {"element": element | {"type": kind}}


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two objects are the same JSON, types and all: 1 is neither 1.0 nor true."""
    return compact(dict(one)) == compact(dict(other))


def form(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> Form | None:
    """The form for one call, filled in with its arguments; None where Slack's fields cannot hold them.

    Args:
        schema: JSON Schema of the arguments object, as the tool declares it to Gemini.
        arguments: As they are stored: plain JSON that fits the schema.
    """
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    if not known or len(known) > MOST_FIELDS or set(arguments) - set(known):
        made = [_all(arguments)]
    else:
        required = schema.get("required") or ()
        made = [
            _field(index, name, about, arguments.get(name, MISSING), required=name in required)
            for index, (name, about) in enumerate(known.items())
        ]
    whole = [field for field in made if field is not None]
    if len(whole) < len(made) or len(json.dumps([f.block for f in whole])) > MOST_BYTES:
        return None
    return Form(whole)


def _all(arguments: Mapping[str, Any]) -> Field | None:
    """Every argument in one field."""

    def read(entry: Mapping[str, Any]) -> Any:
        value = from_json(typed_in(entry))
        if not isinstance(value, dict):
            raise BadEntryError("must be a JSON object, in braces")
        return value

    element = fields.json_element(dict(arguments))
    return None if element is None else Field("", _input("f:all", "Arguments (JSON)", "", element), read)


def _field(index: int, name: str, schema: Any, value: Any, *, required: bool) -> Field | None:
    about = schema if isinstance(schema, Mapping) else {}
    made = fields.made(about, value, required=required)
    if made is None:
        return None
    element, read, optional = made
    label = f"{name} (JSON)" if fields.is_json(read) else name
    # A form that was opened before the tool changed must not fit by accident, nor text be read as JSON.
    print_ = hashlib.sha256(f"{label}\0{element['type']}".encode("utf-8", "replace")).hexdigest()[:8]
    block = _input(f"f:{index}:{print_}", label, str(about.get("description") or ""), element)
    return Field(name, block | ({"optional": True} if optional else {}), read)


def _input(block_id: str, label: str, hint: str, element: Block) -> Block:
    block = {"type": "input", "block_id": block_id, "label": kit.plain(label, LABEL), "element": element}
    return block | ({"hint": kit.plain(hint, 300)} if hint.strip() else {})
