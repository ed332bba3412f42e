"""What processes say of themselves to those beside them: each its newest word, which counts for a while."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog
from sqlalchemy.orm import Session

from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.sightings import Sighting

LASTS: Final = timedelta(minutes=3)
"""So long a word counts that is not said again: its process may be gone."""
_WHO_CHARS: Final = 120

log = structlog.get_logger(__name__)


class Word(NamedTuple):
    """Of one process; `who` is for people."""

    at: datetime
    who: str
    text: str


class Words:
    """About one thing, from this process and for it.

    Args:
        about: Begins their names among the sightings.
        moment: The time that all processes agree on.
        who: This process, for people.
    """

    def __init__(
        self,
        database: Database,
        about: str,
        moment: Callable[[Session], datetime] = sightings.moment,
        who: str = "",
    ) -> None:
        self._database, self._moment = database, moment
        self._all = f"{about}:"
        self._ours = f"{self._all}{secrets.token_hex(8)}:{who[:_WHO_CHARS]}"

    async def say(self, text: str) -> list[Word]:
        """In place of what this process said before; nothing is a word, too. Returns the others' that count.

        Raises what the database raises.
        """
        return await self._database.write(self._say, text)

    async def heard(self) -> list[Word]:
        """Those that count, of every process. Raises what the database raises."""
        return await self._database.read(self._counting)

    async def leave(self) -> None:
        """This process has nothing to say any more."""
        try:
            await self.say("")
        except Exception as e:  # noqa: BLE001  then it is forgotten as one that was killed
            log.warning("word_not_taken_back", about=self._all, error=type(e).__name__)

    def _say(self, s: Session, text: str) -> list[Word]:
        now, others = self._moment(s), list[Word]()
        for key, seen in sightings.of(s, self._all).items():
            if key == self._ours or now - seen.at >= LASTS:
                sightings.forget(s, key)
            else:
                others.append(self._word(key, seen))
        if text:
            sightings.put(s, self._ours, Sighting(now, True, text))
        return others

    def _counting(self, s: Session) -> list[Word]:
        now = self._moment(s)
        found = sightings.of(s, self._all).items()
        return [self._word(key, seen) for key, seen in found if now - seen.at < LASTS]

    def _word(self, key: str, seen: Sighting) -> Word:
        who = key.removeprefix(self._all).partition(":")[2]
        return Word(seen.at, who, seen.text)
