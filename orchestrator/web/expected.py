"""What may stand where something else was sent: msgspec names what it got, and not what it takes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.handlers import HTTPRouteHandler

_REFUSED: Final = "Invalid enum value"
_UNKNOWN: Final = "Object contains unknown field"
_MISSING: Final = "Object missing required field"
_STEP: Final = re.compile(r"[^.\[\]]+")


def named(request: Request[Any, Any, Any], message: str, key: str) -> str:
    """`message`, with the choices behind it where it refuses a value, or a field, that is none of them.

    Args:
        key: Where it stands: a parameter, or a path in the body such as `decisions[0].verdict`.
    """
    if message.startswith(_MISSING):
        return "is required"
    if message.startswith(_UNKNOWN):
        return _with("is not a field here", _fields(_taken(request, key.rpartition(".")[0])))
    return _with(message, _choices(_taken(request, key))) if message.startswith(_REFUSED) else message


def _with(message: str, choices: Iterable[str]) -> str:
    taken = ", ".join(sorted(choices))
    return f"{message}; taken are: {taken}" if taken else message


def _taken(request: Request[Any, Any, Any], key: str) -> Sequence[msgspec.inspect.Type]:
    """What the handler takes there: of a parameter, or else of the body."""
    handler = request.scope.get("route_handler")
    fields = handler.parsed_fn_signature.parameters if isinstance(handler, HTTPRouteHandler) else {}
    own = [f for name, f in fields.items() if key in (name, getattr(f.kwarg_definition, "name", None))]
    if own:
        return [msgspec.inspect.type_info(f.annotation) for f in own]
    body = fields.get("data")
    found = [msgspec.inspect.type_info(body.annotation)] if body is not None else []
    for name in _STEP.findall(key):
        found = [inner for kind in found for inner in _inside(_bare(kind), name)]
    return found


def _inside(kind: msgspec.inspect.Type, name: str) -> Sequence[msgspec.inspect.Type]:
    """What stands there in it: a field of an object, or any place of a list, whose steps are numbers."""
    if isinstance(kind, msgspec.inspect.StructType):
        return [field.type for field in kind.fields if field.encode_name == name]
    return [kind.item_type] if isinstance(kind, msgspec.inspect.ListType) and name.isdigit() else []


def _fields(kinds: Iterable[msgspec.inspect.Type]) -> Iterator[str]:
    """Of the objects among them, or of those that may stand there."""
    for kind in map(_bare, kinds):
        if isinstance(kind, msgspec.inspect.StructType):
            yield from (field.encode_name for field in kind.fields)
        elif isinstance(kind, msgspec.inspect.UnionType):
            yield from _fields(kind.types)


def _choices(kinds: Iterable[msgspec.inspect.Type]) -> Iterator[str]:
    for kind in map(_bare, kinds):
        if isinstance(kind, msgspec.inspect.LiteralType):
            yield from map(str, kind.values)
        elif isinstance(kind, msgspec.inspect.EnumType):
            yield from (str(member.value) for member in kind.cls)
        elif isinstance(kind, msgspec.inspect.UnionType):
            yield from _choices(kind.types)


def _bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
