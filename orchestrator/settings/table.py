"""The settings as a Markdown table, drawn from the model, so that the page cannot fall behind."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from orchestrator.settings.environment import CONFIG_VARIABLE
from orchestrator.settings.fields import PREFIX, FromEnv, as_section, kinds
from orchestrator.settings.model import Settings
from orchestrator.settings.secrets import Secret

PLACEHOLDERS = {"workflows": "<workflow>", "overrides": "<tool>", "triggers": "<trigger>"}
_BOUNDS: Final = {"ge": "at least", "gt": "over", "le": "at most", "lt": "below"}
Row = tuple[str, str, str, str]


def markdown_table() -> str:
    """Every setting: its key, the variable that sets it, its default, what it is."""
    head: Row = ("Key", "Environment variable", "Default", "What it is")
    first: Row = ("", f"`{CONFIG_VARIABLE}`", "`config.yaml`", "The settings file itself.")
    lines = [_line(head), _line(("---",) * 4), _line(first)]
    return "\n".join([*lines, *(_line(row) for row in rows(Settings))]) + "\n"


def rows(model: type[BaseModel], above: str = "", variables: str | None = PREFIX) -> Iterator[Row]:
    """One row per setting; `variables` begins their variables' names, None where they have none."""
    for name, field in model.model_fields.items():
        key = f"{above}{name}"
        if (section := as_section(field.annotation)) is not None:
            yield from rows(section, f"{key}.", variables and f"{variables}{name.upper()}__")
            continue
        yield _row(key, field, variables and f"{variables}{name.upper()}")
        below = next((k for k in kinds(field.annotation) if as_section(k)), None)
        if below is not None:
            held = kinds(field.annotation)
            named = f".{PLACEHOLDERS.get(name, '<name>')}." if dict in held else "."
            inner = "[]." if tuple in held and dict not in held else named
            yield from rows(below, f"{key}{inner}", None)


def _row(key: str, field: FieldInfo, variable: str | None) -> Row:
    source = next((m for m in field.metadata if isinstance(m, FromEnv)), None)
    names = source.names if source else (variable,) if variable else ()
    if Secret in kinds(field.annotation):
        names = tuple(n for name in names for n in (name, f"{name}_FILE"))
    told = (field.description or "", _taken(field))
    return (
        f"`{key}`",
        ", ".join(f"`{n}`" for n in names),
        _default(field, source),
        " ".join(filter(None, told)),
    )


def _taken(field: FieldInfo) -> str:
    """What values it takes, as the schema has it: bounds, or a closed list its description does not give."""
    choices = next(_choices(field.annotation), ())
    if choices and not all(f"`{c}`" in (field.description or "") for c in choices):
        some = "Any" if tuple in kinds(field.annotation) else "One"
        return f"{some} of {', '.join(f'`{c}`' for c in choices)}."
    bound = {sign: getattr(m, sign) for m in field.metadata for sign in _BOUNDS if hasattr(m, sign)}
    if {"ge", "le"} <= bound.keys():
        return f"{bound['ge']} to {bound['le']}."
    told = ", ".join(f"{word} {bound[sign]}" for sign, word in _BOUNDS.items() if sign in bound)
    return f"{told[0].upper()}{told[1:]}." if told else ""


def _choices(annotation: Any) -> Iterator[tuple[Any, ...]]:
    """The closed lists in a type; none in what is only attached to it."""
    inside = get_args(annotation)
    if get_origin(annotation) is Literal:
        yield inside
        return
    for part in inside[:1] if get_origin(annotation) is Annotated else inside:
        yield from _choices(part)


def _default(field: FieldInfo, source: FromEnv | None) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if source and not source.in_file:
        needed = f"required while `{source.needed}`" if isinstance(source.needed, str) else "required"
        return needed if source.needed else ""
    shown = field.default.reveal() if isinstance(field.default, Secret) else field.default
    return "" if shown in (None, "", (), {}) else f"`{_text(shown)}`"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _line(cells: Row | tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
