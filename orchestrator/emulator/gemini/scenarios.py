"""Conversations written down in YAML, turn by turn.

    scenarios:
      - name: late order
        match: {model: gemini-3.8-flash, input_contains: late, metadata: {run_id: run-1}}
        times: 1                       # used for so many conversations at most
        repeat: false                  # true: the last turn is played again and again
        turns:
          - think: 0.5
            calls: [{name: lookup_order, arguments: {order_id: "${reference}"}}]
          - text: "Order ${results.lookup_order.order_id} is late."
            text_refused: "I was not allowed to look."

A turn's keys are those of `story.Turn`. `${...}` takes `input`, `reference`, `metadata.<key>` and
`results.<function>.<field>...`; alone in a string it keeps its type, and what is missing is null.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from orchestrator.emulator.gemini.agents import DEEP_RESEARCH, Research
from orchestrator.emulator.gemini.films import Film, wants_film
from orchestrator.emulator.gemini.improvise import Improvised, Refund
from orchestrator.emulator.gemini.story import Script, Story, Turn

Json = dict[str, Any]
PLACE: Final = re.compile(r"\$\{([^{}]+)\}")
TURN_KEYS: Final = {f.name for f in fields(Turn)}
MATCH_TYPES: Final = {"model": str, "agent": str, "input_contains": str, "metadata": dict}
TURN_LISTS: Final = ("calls", "steps", "errors", "annotations")
FILM_KEYS: Final = {"samples", "seconds", "bytes"}


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `on`, `12:30:45` and `2026-11-21` stay strings, as they do in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0].rpartition(":")[2] not in ("bool", "int", "timestamp")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?[0-9]+$"), list("-0123456789"))


class ScenarioError(ValueError):
    """A scenario file that cannot be played; the message names the scenario and the key."""


@dataclass
class Scenario:
    """One scripted conversation. `used` counts the conversations that took it."""

    name: str
    turns: tuple[Json, ...]
    match: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = None
    repeat: bool = False
    used: int = 0

    def fits(self, body: Json, text: str, metadata: Mapping[str, Any]) -> bool:
        """Does the first request of a conversation match, and may the scenario still be used?"""
        wanted = self.match
        return (
            (self.times is None or self.used < self.times)
            and all(body.get(key) == wanted[key] for key in ("model", "agent") if key in wanted)
            and str(wanted.get("input_contains", "")).lower() in text.lower()
            and all(metadata.get(key) == value for key, value in wanted.get("metadata", {}).items())
        )

    def has(self, number: int) -> bool:
        """Is there a turn of this number, counted from 0?"""
        return self.repeat or number < len(self.turns)

    def turn(self, number: int, story: Story) -> Turn:
        """The turn of this number with its placeholders filled in; past the end it sums up."""
        if not self.has(number):
            return Improvised().turn(number, replace(story, tools={}))
        return _turn(fill(self.turns[min(number, len(self.turns) - 1)], story))


class Scenarios:
    """The scripts of one emulator: those of the file, then the built-in ones."""

    def __init__(self, source: Path | str | Mapping[str, Any] | None = None) -> None:
        self._scenarios: list[Scenario] = [] if source is None else parse(source)

    def add(self, source: Path | str | Mapping[str, Any], *, replace: bool = False) -> list[str]:
        """Put scenarios before the others, or in their place; returns their names.

        Raises:
            ScenarioError: They cannot be played; nothing has changed.
        """
        new = parse(source)
        self._scenarios = new + ([] if replace else self._scenarios)
        return [scenario.name for scenario in new]

    def choose(self, body: Json, story: Story) -> Script:
        """The script for a conversation that begins with this request."""
        for scenario in self._scenarios:
            if scenario.fits(body, story.text, story.metadata):
                scenario.used += 1
                return scenario
        if str(body.get("agent", "")).startswith(DEEP_RESEARCH):
            return Research()
        if wants_film(body) is not None:
            return Film()
        refund = Refund()
        return refund if refund.fits(story) else Improvised()


def parse(source: Path | str | Mapping[str, Any]) -> list[Scenario]:
    """Read scenarios from a file (a path) or from what such a file holds.

    Raises:
        ScenarioError: Not a scenario file; the file itself cannot be read or is not YAML.
    """
    return [_scenario(item, number) for number, item in enumerate(_lists(source).get("scenarios", []))]


def jobs(source: Path | str | Mapping[str, Any]) -> list[Any]:
    """The plans for jobs that stand beside the scenarios; `plans` reads them.

    Raises:
        ScenarioError: As for `parse`.
    """
    found: list[Any] = _lists(source).get("jobs", [])
    return found


def _lists(source: Path | str | Mapping[str, Any]) -> Json:
    data = _plain(_loaded(source))
    right = isinstance(data, dict) and data and set(data) <= {"scenarios", "jobs"}
    if not right or not all(isinstance(part, list) for part in data.values()):
        raise ScenarioError("expected the keys 'scenarios' and 'jobs', one or both, each with a list")
    found: Json = data
    return found


def fill(value: Any, story: Story) -> Any:
    """`value` with every `${...}` in its strings replaced."""
    if isinstance(value, dict):
        return {key: fill(item, story) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, story) for item in value]
    if not isinstance(value, str):
        return value
    alone = PLACE.fullmatch(value)
    if alone:
        return _look_up(alone.group(1), story)
    return PLACE.sub(lambda found: _spoken(_look_up(found.group(1), story)), value)


def _loaded(source: Path | str | Mapping[str, Any]) -> Any:
    if isinstance(source, Mapping):
        return source
    try:
        return yaml.load(Path(source).read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScenarioError(f"{source}: {error}") from error


def _plain(data: Any) -> Any:
    """YAML's dates and the like as the strings JSON has for them."""
    try:
        return msgspec.json.decode(msgspec.json.encode(data))
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"not expressible in JSON: {error}") from error


def _scenario(item: Any, number: int) -> Scenario:
    if not isinstance(item, dict):
        raise ScenarioError(f"scenarios[{number}]: expected a mapping")
    name = str(item.get("name", f"scenarios[{number}]"))
    _known(item, {"name", "match", "turns", "times", "repeat"}, name)
    turns = item.get("turns")
    if not isinstance(turns, list) or not turns:
        raise ScenarioError(f"{name}: 'turns' must be a list with at least one turn")
    for position, turn in enumerate(turns):
        _check_turn(turn, f"{name}: turns[{position}]")
        fill(turn, Story((), {}, random.Random(0)))  # noqa: S311 - a misspelt placeholder stops here, not in a run
    match = item.get("match") or {}
    _check_match(match, f"{name}: match")
    return Scenario(name, tuple(turns), match, item.get("times"), bool(item.get("repeat", False)))


def _check_match(match: Any, where: str) -> None:
    _known(match, set(MATCH_TYPES), where)
    for key, value in match.items():
        if not isinstance(value, MATCH_TYPES[key]):
            raise ScenarioError(f"{where}.{key}: expected {MATCH_TYPES[key].__name__}")


def _check_turn(turn: Any, where: str) -> None:
    _known(turn, TURN_KEYS, where)
    for key in TURN_LISTS:
        if not isinstance(turn.get(key, []), list):
            raise ScenarioError(f"{where}.{key}: expected a list")
    plain = ("calls", "errors", "annotations")
    if not all(isinstance(item, dict) for key in plain for item in turn.get(key, [])):
        raise ScenarioError(f"{where}: {', '.join(plain)} must be mappings; put junk under 'steps'")
    for key in ("think", "queued"):
        if not isinstance(turn.get(key, 0), int | float):
            raise ScenarioError(f"{where}.{key}: expected seconds")
    if turn.get("video") is not None:
        _known(turn["video"], FILM_KEYS, f"{where}.video")
    if "then" in turn:
        _check_turn(turn["then"], f"{where}.then")


def _known(item: Any, keys: set[str], where: str) -> None:
    if not isinstance(item, dict):
        raise ScenarioError(f"{where}: expected a mapping")
    for key in item:
        if key not in keys:
            raise ScenarioError(f"{where}: unknown key '{key}'; known: {', '.join(sorted(keys))}")


def _turn(data: Json) -> Turn:
    lists = {key: tuple(data.get(key, ())) for key in TURN_LISTS}
    then = _turn(data["then"]) if "then" in data else None
    return Turn(**{**data, **lists, "then": then})


def _look_up(place: str, story: Story) -> Any:
    head, *path = place.strip().split(".")
    if head in ("input", "reference") and not path:
        return story.text if head == "input" else story.reference
    if head == "metadata":
        return _walk(dict(story.metadata), path)
    if head == "results" and path:
        result = story.last(path[0])
        return None if result is None else _walk(result.fields, path[1:]) if path[1:] else result.value
    raise ScenarioError(f"unknown placeholder '${{{place}}}'")


def _walk(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _spoken(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
