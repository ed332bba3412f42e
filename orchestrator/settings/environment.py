"""What the environment says: overrides of plain settings, and the secrets.

Reads variables, and the files that `<NAME>_FILE` points to; nothing else. No value is ever part of a fault.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from orchestrator.settings.fields import PREFIX, Leaf, Path, as_section, kinds
from orchestrator.settings.secrets import Secret
from orchestrator.settings.strict_yaml import is_text, scalar

CONFIG_VARIABLE: Final = "ORCHESTRATOR_CONFIG"
MAX_SECRET_BYTES: Final = 64 * 1024
SEPARATORS: Final = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class Environment:
    """Settings found in the environment, the variable each came from, what was wrong, and with which."""

    values: dict[tuple[str, ...], Any] = field(default_factory=dict)
    sources: dict[Path, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)


def read(leaves: Sequence[Leaf], environ: Mapping[str, str]) -> Environment:
    """Look every leaf up; a variable with our prefix that no leaf knows is a fault."""
    found = Environment(faults=_unknown(leaves, environ))
    for leaf in leaves:
        try:
            _take(leaf, environ, found)
        except ValueError as e:
            found.faults.append(str(e))
            found.wrong.add(leaf.key)
    return found


def suggest(name: str, among: Iterable[str], cutoff: float = 0.7) -> str:
    """`; did you mean X?`, or nothing when nothing is near."""
    near = difflib.get_close_matches(name, sorted(among), 1, cutoff)
    return f"; did you mean {near[0]}?" if near else ""


def _take(leaf: Leaf, environ: Mapping[str, str], found: Environment) -> None:
    for name in leaf.source.names:
        variable, text = _secret_text(name, environ) if leaf.secret else (name, environ.get(name))
        if text is None:
            continue
        found.sources[leaf.path] = variable
        try:
            found.values[leaf.path] = coerce(leaf, text)
        except ValueError as e:
            raise ValueError(f"environment {variable}: {leaf.key}: {e}") from None
        return


def _secret_text(name: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """The variable that holds the secret and its text; an empty variable counts as not set."""
    direct, file = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if direct and file:
        raise ValueError(f"environment {name}: {name} and {name}_FILE are both set; keep one")
    if file:
        return f"{name}_FILE", _file_text(f"{name}_FILE", FilePath(file))
    return name, direct or None


def _file_text(variable: str, file: FilePath) -> str:
    try:
        with file.open("rb") as handle:
            text = handle.read(MAX_SECRET_BYTES + 1).decode()
    except OSError as e:
        raise ValueError(f"environment {variable}: cannot read {file}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"environment {variable}: {file} is not UTF-8 text") from None
    if len(text) > MAX_SECRET_BYTES:
        raise ValueError(f"environment {variable}: {file} is larger than {MAX_SECRET_BYTES // 1024} KB")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError(f"environment {variable}: {file} is empty")
    return text


def coerce(leaf: Leaf, text: str) -> Any:
    """A variable's text as the setting's type; text that does not fit is left for the model to refuse.

    Lists are JSON or comma separated, maps are JSON, numbers and booleans are written as in YAML.
    """
    if not is_text(text):
        raise ValueError("holds a character that is no text")
    types = kinds(leaf.field.annotation)
    if leaf.secret:
        return tuple(Secret(t) for t in SEPARATORS.split(text) if t) if tuple in types else Secret(text)
    if tuple in types and dict not in types and not text.lstrip().startswith("["):
        items = [item.strip() for item in text.split(",") if item.strip()]
        return [scalar(item) for item in items] if float in types else items
    if tuple in types or dict in types or any(map(as_section, types)):
        return _json(text)
    if not text and not leaf.field.is_required() and leaf.field.default is None:
        return None
    return text if str in types or not {bool, int, float} & set(types) else scalar(text)


def _json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(names := dict(pairs)) < len(pairs):
            raise ValueError("a key is given twice")
        return names

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError("holds a number that is too large")
        return value

    def never(_: str) -> Any:
        raise ValueError("NaN and Infinity are not JSON")

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=never, parse_float=number)
        if not all(is_text(t) for t in _texts(value)):
            raise ValueError("holds a character that is no text")
        return value
    except json.JSONDecodeError as e:
        raise ValueError(f"is not JSON, at character {e.pos + 1}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in (
        (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from _texts(item)


def _unknown(leaves: Sequence[Leaf], environ: Mapping[str, str]) -> list[str]:
    known = {CONFIG_VARIABLE, *(n for leaf in leaves for n in leaf.source.names)}
    known |= {f"{n}_FILE" for leaf in leaves if leaf.secret for n in leaf.source.names}
    own = {leaf.conventional: leaf.source.names[0] for leaf in leaves}
    return [
        f"environment {name}: is not a setting"
        + (
            f"; did you mean {own[name]}?" if name in own else suggest(name, known, 0.85)
        )  # they all share our prefix
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    ]
