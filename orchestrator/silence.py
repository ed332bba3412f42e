"""A server that says nothing: it stands still, or is gone from behind something that takes what is sent.

TCP sees nothing wrong with either. Who has waited for a little while has the server asked beside, over a new
connection, what becomes of the session. If that is answered, and nothing is done for it there, the old
connection leads nowhere: it is given up, and the others of its time are not used again. If it is not, the
server stands still and is waited for, as is one that is slow; in the end that is given up, too. Whether a
COMMIT that was sent has come to something is not known then.
"""

import threading
import time
from collections.abc import Callable, Collection, Generator
from contextlib import closing, suppress
from typing import Any, Final, TypeVar

import psycopg

T = TypeVar("T")

DOUBT_SECONDS: Final = 3.0
"""Without a word, until the server is asked beside; none of our statements takes as long on a healthy one."""
ANSWER_SECONDS: Final = 3
"""For each of the two: that connection to come about, and the answer over it."""
PAUSE_SECONDS: Final = 1.0
"""Between two such questions of one process, however many of its connections are silent."""
TICK_SECONDS: Final = 0.1
"""Between two looks at what came of one; as the driver has it."""
_NAMES: Final = "SELECT pid || ' ' || extract(epoch FROM backend_start) FROM pg_stat_activity WHERE "
"""What sessions are called: another server, or a later one, may have another session of the same number."""
WHO: Final = _NAMES + "pid = pg_backend_pid()"
_AT_WORK: Final = f"""
    {_NAMES} NOT coalesce(state_change < clock_timestamp() - interval '1 s' AND (
        state LIKE 'idle%' OR state = 'active' AND wait_event_type = 'Client'), false)
"""
"""All but those who have waited for their clients for a while: they have not heard what is said, or were not
heard. Where a server does not tell how its sessions stand, they are taken to be at work.
"""


class Silence:
    """Of the connections of one pool, or of one that has none.

    Args:
        seconds: How long a server is listened to that says nothing, to whomever.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._distrusted_at = 0.0
        self._beside: Callable[[], psycopg.Connection[Any]] | None = None
        self._asking = threading.Lock()
        self._ask_at = 0.0
        self._told: tuple[float, Collection[str]] = (0.0, ())
        """When the server was asked the last time that it answered, and the sessions that were at work."""

    @property
    def doubt_seconds(self) -> float:
        """So long `given_up` need not be asked."""
        return min(DOUBT_SECONDS, self.seconds)

    def given_up(self, session: str, since: float) -> str:
        """Why a connection is not to be listened to any more, empty where it is. Returns at once.

        What it heard in the meantime comes first: it is listened to once more.

        Args:
            session: By `WHO`.
            since: When it was last heard of, by `time.monotonic`.
        """
        now = time.monotonic()
        if now - since < self.doubt_seconds:
            return ""
        if now - since >= self.seconds:
            return f"the server has said nothing for {self.seconds:g} s"
        asked_at, at_work = self._told
        if session and asked_at - since >= self.doubt_seconds and session not in at_work:
            return "the server does nothing for this session, and answers others"
        if session and now >= self._ask_at and self._asking.acquire(blocking=False):
            self._ask()
        return ""

    def met(self, why: str, since: float) -> psycopg.OperationalError:
        """The error to raise. What has come about since then has heard of a server."""
        self.distrust(since)
        return psycopg.OperationalError(why)

    def distrust(self, before: float | None = None) -> None:
        """None that there was before, by now even, is used again: where one leads nowhere, so may all."""
        self._distrusted_at = max(self._distrusted_at, time.monotonic() if before is None else before)

    def distrusted(self, connection: "Listening") -> bool:
        """Whether it is one of those."""
        return connection.since < self._distrusted_at

    def connect(self, *args: Any, **named: Any) -> "Listening":
        """As the driver does."""
        self.lead(*args, **named)
        made = Listening.connect(*args, **named)
        made.silence, made.since = self, time.monotonic()
        return made

    def lead(self, *args: Any, **named: Any) -> None:
        """Where the server is asked beside, as the driver takes it."""
        asked = {**named, "connect_timeout": ANSWER_SECONDS, "autocommit": True}
        self._beside = lambda: Silence(ANSWER_SECONDS).connect(*args, **asked)

    def _ask(self) -> None:
        """In a thread of its own, as nobody knows how long it takes."""
        try:
            threading.Thread(target=self._look, name="db-beside", daemon=True).start()
        except RuntimeError:  # the machine has no more of them now
            self._asking.release()

    def _look(self) -> None:
        try:
            if self._beside is not None:
                with suppress(psycopg.Error), closing(self._beside()) as connection:
                    asked_at = time.monotonic()
                    self._told = asked_at, {row[0] for row in connection.execute(_AT_WORK)}
        finally:
            self._ask_at = time.monotonic() + PAUSE_SECONDS
            self._asking.release()


class _Listening:
    """What both of the driver's connections have in common here."""

    silence: Silence
    session = ""
    """By `WHO`; for one that has no name nobody is asked."""
    hurried = True
    """Unset for one whose statements take their time; see `standstill.unhurried`."""
    pgconn: Any

    def _heard(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """The driver comes with nothing every tenth of a second."""
        heard_at = time.monotonic()
        try:
            awaited = next(gen)
            while True:
                why = self.silence.given_up(self.session, heard_at)
                if ready := (yield awaited):
                    heard_at = time.monotonic()
                elif why:
                    self.pgconn.finish()
                    raise self.silence.met(why, heard_at)
                awaited = gen.send(ready)
        except StopIteration as end:
            value: T = end.value
            return value


class Listening(_Listening, psycopg.Connection[Any]):
    """The driver's connection, which is closed where it meets with silence."""

    since: float
    fresh = True
    """Until it is given out. The pool tries but one new connection where it met with a bad one."""

    def introduce(self, *first: str) -> None:
        """Say those in one go, and hear what the session is called."""
        cursor = self.execute(";".join([*first, WHO]))
        while cursor.nextset():
            pass
        self.session = _name(cursor.fetchone())

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **named: Any) -> T:
        """See the driver's."""
        return super().wait(self._heard(gen) if self.hurried else gen, *args, **named)


class ListeningAsync(_Listening, psycopg.AsyncConnection[Any]):
    """The same for an event loop. Who waits to be told of something unsets `hurried` for it."""

    async def introduce(self, *first: str) -> None:
        """See `Listening`."""
        cursor = await self.execute(";".join([*first, WHO]))
        while cursor.nextset():
            pass
        self.session = _name(await cursor.fetchone())

    async def wait(self, gen: Generator[Any, Any, T], *args: Any, **named: Any) -> T:
        """See the driver's."""
        return await super().wait(self._heard(gen) if self.hurried else gen, *args, **named)


def _name(row: Any) -> str:
    return str(row[0] or "") if row else ""
