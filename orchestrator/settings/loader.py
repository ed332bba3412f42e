"""Read the settings once, check them once; a mistake names its line or variable, and stops the start.

Order: the file's tree, then the environment over it, then one validation of the whole, so that a fault
is told the same way wherever the value came from.
"""

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import ConfigError
from orchestrator.settings import environment, strict_yaml
from orchestrator.settings.addresses import carries_password
from orchestrator.settings.crosschecks import contradictions
from orchestrator.settings.environment import CONFIG_VARIABLE, Environment, suggest
from orchestrator.settings.fields import Path, dotted, leaves, model_at
from orchestrator.settings.model import Settings
from orchestrator.settings.strict_yaml import Document

UNKNOWN: Final = "extra_forbidden"
DEFAULT_FILE: Final = "config.yaml"
LEAVES: Final = tuple(leaves(Settings))
SAYINGS: Final = {
    "missing": "is missing",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text; put it in quotes",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} items",
    "string_too_long": "must have at most {max_length} characters",
    "value_error": "{error}",
}


def load(
    path: FilePath | None = None, environ: Mapping[str, str] = os.environ, *, need_secrets: bool = True
) -> Settings:
    """The settings from one file and the environment.

    Args:
        path: The file; else the one `ORCHESTRATOR_CONFIG` names, else `config.yaml` here.
        environ: The variables; every plain setting may be overridden by `ORCHESTRATOR_<SECTION>__<KEY>`.
        need_secrets: False lets secrets be absent, for commands that only look at the rest.

    Raises:
        ConfigError: One line per fault: `file:line: key: …` or `environment VARIABLE: key: …`. No values.
    """
    file = path or FilePath(environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)
    document = _read(file)
    found = environment.read(LEAVES, environ)
    faults = [f"{file}:{line}: {text}" for line, text in document.faults]
    faults += [*_exposed(file, document), *found.faults]
    told = _Told(file, document, found)
    tree = _merged(document.tree, found)
    settings, wrong = _validate(tree)
    faults += [told.error(d) for d in wrong]
    rest = settings or _rest(tree, wrong)
    if rest is not None and all(
        d["type"] == UNKNOWN for d in wrong
    ):  # a default may contradict what was meant
        faults += [told.at(p, text) for p, text in contradictions(rest)]
    if rest is not None and need_secrets:
        faults += _missing(rest, found, environ, found.wrong | {dotted(told.path(d)) for d in wrong})
    if faults or settings is None:
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return settings


def log_format(path: FilePath | None = None) -> str:
    """`log.format` as it is given, although other settings are wrong: how to say that they are."""
    found = environment.read(LEAVES, os.environ)
    try:
        tree = _read(path or FilePath(os.environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)).tree
    except ConfigError:
        tree = None
    log = _merged(tree, found).get("log")
    return "json" if isinstance(log, dict) and log.get("format") == "json" else "console"


def _read(file: FilePath) -> Document:
    try:
        with file.open("rb") as handle:
            document = strict_yaml.parse(handle.read(strict_yaml.MAX_BYTES + 1))
    except OSError as e:
        hint = f"; name one with --config or {CONFIG_VARIABLE}" if isinstance(e, FileNotFoundError) else ""
        raise ConfigError(f"{file}: cannot be read: {e.strerror}{hint}") from None
    except strict_yaml.YamlError as e:
        raise ConfigError(f"{file}:{e.line}: {e}") from None
    if document.tree is not None and not isinstance(document.tree, dict):
        raise ConfigError(f"{file}:1: the top level must be a mapping of sections")
    return document


def _validate(tree: dict[str, Any]) -> tuple[Settings | None, list[ErrorDetails]]:
    try:
        return Settings.model_validate(tree), []
    except ValidationError as e:
        return None, e.errors(include_input=False, include_url=False)


def _rest(tree: dict[str, Any], wrong: Sequence[ErrorDetails]) -> Settings | None:
    """The settings without what is wrong, so that the others are checked too; None where that are none."""
    for detail in wrong:
        holder = _holder(tree, detail["loc"])
        if holder is not None and detail["loc"]:
            holder.pop(detail["loc"][-1], None)
    return _validate(tree)[0]


def _exposed(file: FilePath, document: Document) -> Iterator[str]:
    """Secrets written into the file. They are taken out of the tree, so nothing else sees them."""
    for leaf in (leaf for leaf in LEAVES if leaf.secret):
        holder = _holder(document.tree, leaf.path)
        if holder is None or leaf.path[-1] not in holder:
            continue
        value = holder[leaf.path[-1]]
        if leaf.source.in_file and not (isinstance(value, str) and carries_password(value)):
            continue
        del holder[leaf.path[-1]]
        variable = leaf.source.names[0]
        what = "carries a password" if leaf.source.in_file else "is a secret"
        yield (
            f"{file}:{document.lines[leaf.path]}: {leaf.key}: {what} and does not belong in this file; "
            f"set {variable}, or {variable}_FILE to a file that holds it"
        )


def _holder(tree: Any, path: Sequence[str | int]) -> dict[str | int, Any] | None:
    for part in path[:-1]:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else None


def _merged(tree: Any, found: Environment) -> dict[str, Any]:
    """The file's tree with the environment's values over it; sections are made where they are needed."""
    whole: dict[str, Any] = tree or {}
    for path, value in found.values.items():
        holder: Any = whole
        for part in path[:-1]:
            if holder.get(part) is None:
                holder[part] = {}
            holder = holder[part]
            if not isinstance(holder, dict):  # the model says what is wrong with that
                break
        else:
            holder[path[-1]] = value
    return whole


def _missing(
    settings: Settings, found: Environment, environ: Mapping[str, str], wrong: Set[str]
) -> Iterator[str]:
    """Secrets that are needed, as far as what they hang on is not `wrong` itself."""
    for leaf in LEAVES:
        needed = leaf.source.needed
        if isinstance(needed, str):
            needed = all(_holds(settings, c) and not _is_in(c, wrong) for c in needed.split(", "))
        if not needed or _is_in(leaf.key, wrong) or _value(settings, leaf.path):
            continue
        variable = leaf.source.names[0]
        near = suggest(variable, (n for n in environ if n not in found.sources.values() and n not in _KNOWN))
        yield (
            f"environment {variable}: {leaf.key}: is missing; "
            f"set {variable}, or {variable}_FILE to a file that holds it{near}"
        )


def _is_in(condition: str, wrong: Set[str]) -> bool:
    """Whether that key, or a section it stands in, is one of those; of a condition, its key."""
    parts = condition.partition("=")[0].split(".")
    return any(".".join(parts[:n]) in wrong for n in range(1, len(parts) + 1))


def _holds(settings: Settings, condition: str) -> bool:
    """Of `key` or `key=value`; a switch is written as in YAML."""
    key, _, wanted = condition.partition("=")
    value = _value(settings, key.split("."))
    return (str(value).lower() if isinstance(value, bool) else value) == wanted if wanted else bool(value)


_KNOWN: Final = frozenset(n for leaf in LEAVES for n in leaf.source.names)


def _value(settings: Settings, path: Sequence[str]) -> Any:
    value: Any = settings
    for part in path:
        value = getattr(value, part)
    return value


class _Told:
    """Where a value came from, and what is wrong with it, in one line."""

    def __init__(self, file: FilePath, document: Document, found: Environment) -> None:
        self._file, self._lines, self._sources = file, document.lines, found.sources

    def at(self, path: Path, text: str) -> str:
        return f"{self._place(path)}: {dotted(path)}: {text}"

    def path(self, detail: ErrorDetails) -> Path:
        return tuple(p for p in detail["loc"] if p != "[key]")

    def error(self, detail: ErrorDetails) -> str:
        path = self.path(detail)
        return self.at(path, self._text(detail, path))

    def _place(self, path: Path) -> str:
        around = [path[:end] for end in range(len(path), 0, -1)]
        # A variable replaces all that the file holds there, however deep the fault stands in it.
        if (variable := next((self._sources[p] for p in around if p in self._sources), None)) is not None:
            return f"environment {variable}"
        return f"{self._file}:{next((self._lines[p] for p in around if p in self._lines), 1)}"

    def _text(self, detail: ErrorDetails, path: Path) -> str:
        if detail["type"] == UNKNOWN:
            model = model_at(Settings, path)
            return f"is not a setting{suggest(str(path[-1]), model.model_fields if model else ())}"
        if (saying := SAYINGS.get(detail["type"])) is not None:
            return saying.format_map(detail.get("ctx", {}))
        message = detail["msg"].removeprefix("Input should ")
        return f"must {message}" if message != detail["msg"] else message.lower()
