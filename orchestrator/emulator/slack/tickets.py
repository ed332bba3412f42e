"""Things that may be used a few times and not for long: trigger ids and response addresses.

Source: Slack, "Handling user interaction": a trigger works once within 3 s, a response address up to five
times within 30 minutes.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

TRIGGER_SECONDS = 3.0
RESPONSE_SECONDS = 1800.0
RESPONSE_USES = 5


class Refused(Exception):  # noqa: N818  an answer of Slack's, not a fault of ours
    """Slack says no: `error` is its code, `extra` goes into the answer beside it."""

    def __init__(self, error: str, **extra: object) -> None:
        super().__init__(error)
        self.error = error
        self.extra = extra


@dataclass
class Ticket:
    """A use granted to one person, about one message if it names one."""

    user: str
    until: float
    uses: int
    channel: str | None = None
    ts: str | None = None


class Tickets:
    """Hands out trigger ids and response addresses and takes them back. `clock` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._triggers: dict[str, Ticket] = {}
        self._responses: dict[str, Ticket] = {}

    def trigger(self, user: str) -> str:
        """A new trigger id, never given out before."""
        now = self._clock()
        made = f"{int(now * 1000)}.{len(self._triggers) + 1}.{secrets.token_hex(8)}"
        self._triggers[made] = Ticket(user, now + TRIGGER_SECONDS, 1)
        return made

    def use_trigger(self, trigger: object) -> str:
        """The person behind a trigger id.

        Raises:
            Refused: `invalid_trigger_id`, `expired_trigger_id` or `exchanged_trigger_id`.
        """
        ticket = self._triggers.get(str(trigger))
        if ticket is None:
            raise Refused("invalid_trigger_id")
        if ticket.uses == 0:
            raise Refused("exchanged_trigger_id")
        if self._clock() > ticket.until:
            raise Refused("expired_trigger_id")
        ticket.uses -= 1
        return ticket.user

    def response(self, user: str, channel: str, ts: str) -> str:
        """The secret last part of a new response address about a message."""
        made = secrets.token_urlsafe(18)
        self._responses[made] = Ticket(user, self._clock() + RESPONSE_SECONDS, RESPONSE_USES, channel, ts)
        return made

    def use_response(self, secret: str) -> Ticket:
        """Count one use of a response address.

        Raises:
            Refused: `no_service`, `expired_url` or `used_url`.
        """
        ticket = self._responses.get(secret)
        if ticket is None:
            raise Refused("no_service")
        if self._clock() > ticket.until:
            raise Refused("expired_url")
        if ticket.uses == 0:
            raise Refused("used_url")
        ticket.uses -= 1
        return ticket
