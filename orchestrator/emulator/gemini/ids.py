"""Names that look like Gemini's, fresh or repeatable from a seed."""

import base64
import random
import string
import uuid
from typing import Final

URL_SAFE: Final = string.ascii_letters + string.digits + "_-"
SMALL: Final = string.ascii_lowercase + string.digits
PART_LENGTH: Final = 23  # bytes of each half of an interaction id, as seen live (`v1_Chd...`)


class Ids:
    """A source of ids and secrets.

    Args:
        seed: The same seed gives the same ids in the same order; None gives unguessable ones.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.random: random.Random = (
            random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - a test's choice
        )

    def part(self) -> str:
        """One half of an interaction id: a conversation's root or an interaction's own name."""
        return self._text(URL_SAFE, PART_LENGTH)

    def interaction(self, root: str) -> str:
        """`v1_` and the URL-safe base64 of a two-field protobuf: the root and a new name."""
        fields = (b"\x0a", root.encode()), (b"\x12", self.part().encode())
        packed = b"".join(tag + bytes([len(value)]) + value for tag, value in fields)
        return "v1_" + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def call(self) -> str:
        """A function call's id: eight small characters."""
        return self._text(SMALL, 8)

    def webhook(self) -> str:
        """A registered webhook's bare id."""
        return self._text(SMALL, 12)

    def message(self) -> str:
        """A delivery's id, `msg_` and a UUID."""
        return f"msg_{uuid.UUID(bytes=self.random.randbytes(16), version=4)}"

    def signature(self) -> str:
        """An opaque thought signature."""
        return base64.b64encode(self.random.randbytes(24)).decode()

    def secret(self) -> str:
        """A signing secret: `whsec_` and the base64 of 32 bytes."""
        return "whsec_" + base64.b64encode(self.random.randbytes(32)).decode()

    def _text(self, alphabet: str, length: int) -> str:
        return "".join(self.random.choices(alphabet, k=length))
