"""Sending news to callers' addresses: at least once, always under the same id.

What a message says was written with what it tells; here it is only carried. An answer that got lost is no
answer: the receiver knows the message by its id when it comes again.
"""

from functools import partial
from typing import Protocol

import structlog
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.callbacks import Receipt
from orchestrator.domain.effects import Urgency
from orchestrator.engine.commits import Commits
from orchestrator.engine.tickets import Act
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.store import callbacks, claims, locking
from orchestrator.store.callbacks import Attempt, Patience, Sending
from orchestrator.store.claims import Claimed

log = structlog.get_logger(__name__)

GONE = 410
"""An address that answers so wants no more (Standard Webhooks, "Deliverability")."""
NOTHING_SIGNS = "callbacks.secrets is not set, so nothing can be signed"


class CallbackPort(Protocol):
    """Sends one signed message to an address of a caller's."""

    async def send(self, url: str, message_id: str, body: str) -> Receipt:
        """What it answered, whatever its status.

        Raises:
            UnavailableError: It was not reached.
            UncertainError: It may have got it; no answer came.
            RejectedError: The address may not be called.
        """
        ...


class Callbacks:
    """Sends what `step` wrote down.

    Args:
        sender: None where nothing is there to sign with.
    """

    def __init__(self, commits: Commits, sender: CallbackPort | None, patience: Patience) -> None:
        self._commits = commits
        self._sender = sender
        self._patience = patience

    def send(self, s: Session, effect: Claimed) -> Act | None:
        """The gate: one that nobody waits for is done, one whose address is left alone waits."""
        found = callbacks.take(s, effect.subject, self._patience, self._commits.now())
        if found is None:
            claims.done(s, effect)
            return None
        if not isinstance(found, Sending):
            claims.put_off(s, effect, found, Urgency.ASKED)
            return None
        if self._sender is None:
            self._settle(s, effect, Attempt(None, NOTHING_SIGNS))
            return None
        return partial(self._send, effect, found, self._sender)

    async def _send(self, effect: Claimed, message: Sending, sender: CallbackPort) -> None:
        attempt = await _tried(message, sender)
        failpoints.hit("after_callback")
        log.info(
            "callback_sent" if not attempt.why else "callback_failed",
            callback=message.id,
            event_type=message.event,
            run_id=effect.run_id,
            attempt=message.number,
            status=attempt.status,
        )

        def job(s: Session) -> tuple[None, None]:
            locking.run(s, effect.run_id)
            self._settle(s, effect, attempt)
            return None, None

        await self._commits.outlast(job, effect.run_id)

    def _settle(self, s: Session, effect: Claimed, attempt: Attempt) -> None:
        """What came of it, heard under its claim only: who took it over tells it himself."""
        commits, now = self._commits, self._commits.now()
        if not claims.renew(s, effect, commits.hold().until):
            return
        again = callbacks.settle(s, effect.subject, attempt, self._patience, now, commits.roll())
        if again is None:
            claims.done(s, effect)
        else:
            claims.retry(s, effect, again, attempt.why)


async def _tried(message: Sending, sender: CallbackPort) -> Attempt:
    try:
        receipt = await sender.send(message.url, message.id, message.body)
    except RejectedError as e:
        return Attempt(None, str(e), final=True)
    except UnavailableError as e:
        return Attempt(None, str(e), e.retry_after)
    except UncertainError as e:
        return Attempt(None, str(e))
    if receipt.taken:
        return Attempt(receipt.status)
    gone = receipt.status == GONE
    why = "it answered 410: it wants no more" if gone else f"it answered {receipt.status}"
    return Attempt(receipt.status, why, receipt.retry_after, gone=gone)
