"""Agents behind `agent`: what they take, their environments, and the researcher that plans with people.

Source: Gemini API, Interactions, "Agents", "Deep Research" (collaborative planning: a turn with `true` ends
`completed` with a plan, another `true` turn refines it, a turn with `false` carries it out).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.emulator.gemini.errors import invalid, not_found, unknown_parameter
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.story import Story, Turn

Json = dict[str, Any]
DEEP_RESEARCH: Final = "deep-research"
ANTIGRAVITY: Final = "antigravity"
CONFIG: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    DEEP_RESEARCH: {
        "type": (str,),
        "thinking_summaries": (str,),
        "visualization": (str,),
        "collaborative_planning": (bool,),
        "enable_bigquery_tool": (bool,),
    },
    ANTIGRAVITY: {"type": (str,), "model": (str,), "max_total_tokens": (int, str)},
}
ENVIRONMENT: Final = ("type", "environment_id", "env", "network", "sources")
NEW_ENVIRONMENT: Final = "remote"
SOURCES: Final = (
    ("encyclopedia.example.org", "The basics are well described."),
    ("journal.example.com", "A recent study agrees with them."),
    ("statistics.example.net", "The figures have been stable for years."),
)


def check_agent(body: Json, functions: Sequence[Json]) -> None:
    """Does this agent take such a request? Without an agent: are its fields absent?

    Raises:
        ApiError: 400.
    """
    if "agent" not in body:
        for name in ("agent_config", "environment"):
            if name in body:
                raise invalid(f"'{name}' is for agents only.")
        return
    _check_config(body["agent"], body.get("agent_config", {}))
    _check_environment(body.get("environment", NEW_ENVIRONMENT))
    if body["agent"].startswith(DEEP_RESEARCH):
        if not body.get("background"):
            raise invalid("Deep Research requires background=true.")
        if functions or "response_format" in body:
            raise invalid("Deep Research takes neither function tools nor response_format.")


def plans(body: Json) -> bool:
    """Does this request ask for a plan instead of the work?"""
    return bool(body.get("agent_config", {}).get("collaborative_planning", False))


def _check_config(agent: str, config: Json) -> None:
    family = next((name for name in CONFIG if agent.startswith(name)), None)
    if family is None:  # saved agents have definitions that we cannot know
        return
    if config and config.get("type") != family:
        raise invalid(f"agent_config.type must be '{family}' for agent '{agent}'.")
    for name, value in config.items():
        kinds = CONFIG[family].get(name)
        if kinds is None:
            raise unknown_parameter(name, "agent_config")
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise invalid(f"Invalid value for 'agent_config.{name}'.")
    if not str(config.get("max_total_tokens", "1")).isdecimal():
        raise invalid("agent_config.max_total_tokens must be an integer.")


def _check_environment(environment: Any) -> None:
    if isinstance(environment, str):
        if not environment:
            raise invalid("environment must not be empty.")
        return
    for name in environment:
        if name not in ENVIRONMENT:
            raise unknown_parameter(name, "environment")
    if environment.get("type") != NEW_ENVIRONMENT:
        raise invalid("environment.type must be 'remote'.")
    if not isinstance(environment.get("environment_id", ""), str):
        raise invalid("environment.environment_id must be a string.")


@dataclass
class Sandbox:
    """An agent's environment, as far as anybody outside can see."""

    project: str
    used: datetime


class Environments:
    """The environments of every project; each is gone some days after it was last used."""

    def __init__(self, ids: Ids, lifetime_seconds: float) -> None:
        self._ids, self._lifetime = ids, timedelta(seconds=lifetime_seconds)
        self._all: dict[str, Sandbox] = {}

    def enter(self, project: str, body: Json, now: datetime) -> str | None:
        """The id of the environment a create works in: a new one, the one it names, or None for none.

        Raises:
            ApiError: 404 when it names one that is unknown, gone or another project's.
        """
        if "environment" not in body:
            return None
        wanted = body["environment"]
        name = wanted.get("environment_id", NEW_ENVIRONMENT) if isinstance(wanted, dict) else wanted
        if name == NEW_ENVIRONMENT:
            name = f"env_{self._ids.webhook()}"
            self._all[name] = Sandbox(project, now)
        found = self._all.get(name)
        if found is None or found.project != project or now - found.used > self._lifetime:
            raise not_found("Environment", name)
        found.used = now
        return str(name)


class Research:
    """Deep Research: plans when asked to, refines the plan with every word said about it, else reports."""

    name = "research"

    def has(self, number: int) -> bool:
        """It never runs out."""
        return True

    def turn(self, number: int, story: Story) -> Turn:
        """A plan, a better plan, or the report; every one of them ends `completed`."""
        if story.planning:
            return Turn(text=_plan(story))
        by = f"by the plan of {story.plans} rounds" if story.plans else "without a plan"
        opening = f"Research report on: {_subject(story)}\nDone {by}. Nothing surprising was found."
        text, annotations = _cited(opening, _subject(story))
        return Turn(text=text, annotations=annotations)


def _plan(story: Story) -> str:
    steps = ["Collect sources", "Compare what they say", "Write the report"]
    wishes = story.messages[len(story.messages) - story.plans :] if story.plans else ()
    steps[2:2] = [f"As asked: {wish}" for wish in wishes]
    listed = "\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1))
    return f"Research plan, version {story.plans + 1}, for: {_subject(story)}\n{listed}"


def _cited(opening: str, subject: str) -> tuple[str, tuple[Json, ...]]:
    """A report whose findings name their sources; citations count in bytes, the end exclusive."""
    text, annotations = opening, []
    words = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:40] or "nothing"
    for number, (host, claim) in enumerate(SOURCES, 1):
        start = len(text.encode()) + 1
        text = f"{text}\n{claim} [cite: {number}]"
        title, url = f"{host}: {subject}"[:80], f"https://{host}/{words}"
        place = {"start_index": start, "end_index": len(text.encode())}
        annotations.append({"type": "url_citation", "url": url, "title": title, **place})
    links = "\n".join(f"{n}. [{one['title']}]({one['url']})" for n, one in enumerate(annotations, 1))
    return f"{text}\n\n**Sources:**\n{links}", tuple(annotations)


def _subject(story: Story) -> str:
    return story.messages[0] if story.messages else "nothing in particular"
