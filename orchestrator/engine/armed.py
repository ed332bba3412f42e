"""Triggers that are ready to fire, as `orchestrator.arming` makes them, and the feeds they read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.domain.model import Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.triggers import FeedReading, First, Happened, Missed, Schedule


class FeedPort(Protocol):
    """Reads feeds. Raises `UnavailableError`, `RejectedError`, or `InvalidError` for what is no feed."""

    async def look(
        self, url: str, *, etag: str = "", last_modified: str = "", inside: str = ""
    ) -> FeedReading:
        """What it says now, or that nothing has changed since; `inside` as in `Feed`."""
        ...


@dataclass(frozen=True, slots=True)
class Cron:
    """By the clock. `most` bounds what `run_all` makes up for; `local` is an instant by its zone's clocks."""

    schedule: Schedule
    missed: Missed = Missed.RUN_ONCE
    most: int = 24
    local: Callable[[datetime], datetime] = lambda moment: moment


@dataclass(frozen=True, slots=True)
class Feed:
    """By new entries of a feed.

    `inside` is its host and port where that may be asked without TLS and on a private address; else empty.
    """

    url: str
    every: timedelta
    first: First = First.LATEST
    inside: str = ""


@dataclass(frozen=True, slots=True)
class Hook:
    """By signed deliveries."""


@dataclass(frozen=True, slots=True)
class Armed:
    """A trigger of the settings, ready to fire.

    Args:
        recipe: Of its runs; its contract is part of it.
        prepare: The text for the model from what happened; raises `InvalidError`.
        plan: Changes with whatever its times depend on; up to the first dot, with what it looks at.
        told: What it waits for, for people.
    """

    name: str
    recipe: Recipe
    source: Cron | Feed | Hook
    prepare: Callable[[JsonObject], str]
    plan: str = ""
    told: str = ""


@dataclass(frozen=True, slots=True)
class Fired:
    """What an occurrence came to. `verdict` is None where a feed is only going to be read.

    `oversize` says that it was refused because it makes more than a workflow takes.
    """

    key: str
    verdict: Happened | None
    run_id: str | None = None
    note: str = ""
    oversize: bool = False
