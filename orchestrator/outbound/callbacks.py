"""One signed message to an address of a caller's.

Source: Standard Webhooks, "Webhook scheme": three headers, HMAC-SHA256 over `id.timestamp.body`; while
secrets change, one signature by each of them, separated by blanks.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog
from standardwebhooks import Webhook

from orchestrator.domain.callbacks import Receipt
from orchestrator.domain.retry import told_wait
from orchestrator.errors import UncertainError
from orchestrator.outbound.client import Outbound, Stream

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read, so that its sender is not cut off; nobody looks at them."""
_ASKS_TO_WAIT: Final = frozenset({429, 502, 503, 504})

log = structlog.get_logger(__name__)


class CallbackSender:
    """Signs and sends.

    Args:
        secrets: `whsec_` and base64, each; the receiver may know any one of them.
        clock: The time of each attempt is signed with it.
    """

    def __init__(
        self,
        outbound: Outbound,
        secrets: Sequence[str],
        *,
        clock: Callable[[], datetime],
        timeout_seconds: float = 10.0,
    ) -> None:
        if not secrets:
            raise ValueError("nothing to sign with")
        self._outbound = outbound
        self._signers = [Webhook(secret) for secret in secrets]
        self._clock = clock
        self._timeout = timeout_seconds

    def check(self, url: str) -> None:
        """Whether an address may be called, as far as it can be told without its name being resolved.

        Raises:
            RejectedError: `not_allowed`; the text says what it should be.
        """
        self._outbound.check(url)

    def signed(self, message_id: str, body: str) -> dict[str, str]:
        """The headers of a message that is sent now."""
        now = self._clock()
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(message_id, now, body) for signer in self._signers),
        }

    async def send(self, url: str, message_id: str, body: str) -> Receipt:
        """See `engine.callbacks.CallbackPort`. A redirect is an answer like any other: it is not followed.

        The status is the answer: what becomes of the body changes nothing.
        """
        async with self._outbound.stream(
            "POST",
            url,
            headers=self.signed(message_id, body),
            content=body.encode(),
            timeout=self._timeout,
        ) as answer:
            await _heard_out(answer)
        asked = answer.headers.get("retry-after", "") if answer.status in _ASKS_TO_WAIT else ""
        return Receipt(answer.status, told_wait(asked, self._clock()))


async def _heard_out(answer: Stream) -> None:
    try:
        await answer.read(MAX_ANSWER)
    except UncertainError as e:
        log.info("callback_answer_broken", status=answer.status, reason=str(e))
