"""Whether all processes decide about calls alike: each leaves what it knows, and reads the others'.

A tool that one worker lacks is answered there as an unknown one, and nobody is asked. No process by itself
can see that anything is wrong.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog
from sqlalchemy.orm import Session

from orchestrator.failure_streak import FailureStreak
from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.words import Word, Words

LOOK_SECONDS: Final = 15.0
"""Between two looks; with each of them a process says that it is still there."""
STAYS: Final = timedelta(seconds=90)
"""So long after it was seen first, who differs still says so; a deploy that goes round is over by then."""
SHOWN: Final = 5
"""Names of one kind, and processes."""

log = structlog.get_logger(__name__)


class Known(msgspec.Struct, frozen=True):
    """What decides about calls, each thing by its name and with the version it has.

    `rules` are by the name of the tool they are about.
    """

    tools: Mapping[str, str]
    rules: Mapping[str, str]
    workflows: Mapping[str, str]

    def unlike(self, ours: "Known") -> str:
        """In what it differs from ours, in words; empty if in nothing."""
        both = self.tools.keys() & ours.tools.keys()  # the rules of others go without saying
        rules = [{name: known.rules[name] for name in both} for known in (self, ours)]
        kinds = {
            "knows other tools": _differing(self.tools, ours.tools),
            "asks by other rules": _differing(*rules),
            "knows other workflows": _differing(self.workflows, ours.workflows),
        }
        return "; ".join(f"{how}: {_shown(names)}" for how, names in kinds.items() if names)


def _differing(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    def told() -> Iterator[str]:
        for name in sorted(theirs.keys() | ours.keys()):
            if name not in theirs:
                yield f"{name} is not there"
            elif name not in ours:
                yield f"{name} is only there"
            elif theirs[name] != ours[name]:
                yield f"{name} is another version"

    return list(told())


def _shown(told: list[str], between: str = ", ") -> str:
    more = len(told) - SHOWN
    return between.join(told[:SHOWN]) + (f" and {more} more" if more > 0 else "")


class DifferingConfigs:
    """Of one process; `trouble` is what its last look found, empty where all are alike.

    Args:
        who: This process, for people.
        known: What it was started with.
        moment: The time that all processes agree on.
    """

    def __init__(
        self,
        database: Database,
        who: str,
        known: Known,
        moment: Callable[[Session], datetime] = sightings.moment,
    ) -> None:
        self._known = known
        self._words = Words(database, "config", moment, who)
        self._text = msgspec.json.encode(known, order="sorted").decode()
        self._since: dict[str, datetime] = {}
        """Since when what differs is there: whoever keeps starting anew is another process each time."""
        self.trouble = ""

    async def run(self) -> None:
        """Look until cancelled."""
        streak = FailureStreak("config_comparing")
        while True:
            with streak.attempt():
                await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Say that this process is there, and find who differs. Raises what the database raises."""
        others = await self._words.say(self._text)
        unlike = [(word, why) for word in others if (why := self._unlike(word))]
        self._since = {word.text: self._since.get(word.text, word.at) for word, _ in unlike}
        told = {f"{word.who} {why}" for word, why in unlike if word.at - self._since[word.text] >= STAYS}
        self._found(_shown(sorted(told), "; "))

    async def leave(self) -> None:
        """This process decides nothing any more."""
        await self._words.leave()

    def _unlike(self, word: Word) -> str:
        return msgspec.json.decode(word.text, type=Known).unlike(self._known)

    def _found(self, trouble: str) -> None:
        if trouble and not self.trouble:
            log.warning("configs_differ", how=trouble)
        elif self.trouble and not trouble:
            log.info("configs_agree_again")
        self.trouble = trouble
