"""One signed message to an address of a caller's.

Source: Standard Webhooks, "Webhook scheme": three headers, HMAC-SHA256 over `id.timestamp.body`; while
secrets change, one signature by each of them, separated by blanks.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook

from orchestrator.domain.callbacks import Receipt
from orchestrator.outbound.client import Outbound

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read, so that its sender is not cut off; nobody looks at them."""
_ASKS_TO_WAIT: Final = frozenset({429, 502, 503, 504})


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
        """See `engine.callbacks.CallbackPort`. A redirect is an answer like any other: it is not followed."""
        answer = await self._outbound.request(
            "POST",
            url,
            headers=self.signed(message_id, body),
            content=body.encode(),
            max_bytes=MAX_ANSWER,
            timeout=self._timeout,
        )
        asked = answer.headers.get("retry-after", "") if answer.status in _ASKS_TO_WAIT else ""
        return Receipt(answer.status, float(asked) if _seconds(asked) else None)


def _seconds(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 6
