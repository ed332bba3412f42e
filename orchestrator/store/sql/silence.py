"""A server that says nothing: it stands still, or is gone from behind something that takes what is sent.

TCP sees nothing wrong with either. Whoever waits gives its connection up after a while; whether a COMMIT that
was sent has come to something is not known then. The others of that time are not used again.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")


class Silence:
    """Of one engine's connections.

    Args:
        seconds: How long a server is listened to that says nothing.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._distrusted_at = 0.0

    def met(self) -> psycopg.OperationalError:
        """The error to raise."""
        self.distrust()
        return psycopg.OperationalError(f"the server has said nothing for {self.seconds:g} s")

    def distrust(self) -> None:
        """None that there is by now is used again: where one leads nowhere, so may all."""
        self._distrusted_at = time.monotonic()

    def distrusted(self, connection: "Listening") -> bool:
        """Whether it is one of those."""
        return connection.since < self._distrusted_at

    def connect(self, *args: Any, **named: Any) -> "Listening":
        """As the driver does."""
        made = Listening.connect(*args, **named)
        made.silence, made.since = self, time.monotonic()
        return made


class Listening(psycopg.Connection[Any]):
    """The driver's connection, which is closed where it meets with silence."""

    silence: Silence
    since: float
    hurried = True
    """Unset for one whose statements take their time; see `standstill.unhurried`."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **named: Any) -> T:
        """See the driver's."""
        return super().wait(self._heard(gen) if self.hurried else gen, *args, **named)

    def _heard(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """The driver comes with nothing every tenth of a second."""
        heard_at = time.monotonic()
        try:
            awaited = next(gen)
            while True:
                if ready := (yield awaited):
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at >= self.silence.seconds:
                    self.close()
                    raise self.silence.met()
                awaited = gen.send(ready)
        except StopIteration as end:
            value: T = end.value
            return value
