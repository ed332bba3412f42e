"""What webhooks say: one event about one interaction, batch or webhook. Values only, no I/O.

Source: Gemini API, Webhooks, "Event catalog": thin bodies, the receiver fetches the rest.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from orchestrator.emulator.gemini.interactions import Interaction, instant

Json = dict[str, Any]
OF_STATUS: Final = {
    "requires_action": "interaction.requires_action",
    "completed": "interaction.completed",
    "failed": "interaction.failed",
}  # `incomplete`, `budget_exceeded` and `cancelled` have no event that one could subscribe to
UNKNOWN_TYPE: Final = "interaction.dreamt"


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Args:
        type: Of the catalogue, or any other string.
        subject: Id of what it is about, as its resource is called.
        project: Where that lives.
        at: When it happened.
        data: The body's `data`.
        metadata: The request's `user_metadata`.
        uris: The request's own addresses; they replace the registered webhooks.
    """

    type: str
    subject: str
    project: str
    at: datetime
    data: Json
    metadata: Json = field(default_factory=dict)
    uris: tuple[str, ...] = ()

    def body(self, place: str) -> bytes:
        """The bytes that are signed and sent; `place` says where the metadata goes: data, top or none."""
        data = dict(self.data)
        body: Json = {"type": self.type, "version": "v1", "timestamp": instant(self.at), "data": data}
        if self.metadata and place != "none":
            (data if place == "data" else body)["user_metadata"] = self.metadata
        return encode(body)

    def mistyped(self) -> "Event":
        """The same under a type that nobody knows."""
        return replace(self, type=UNKNOWN_TYPE)

    def about(self, subject: str) -> "Event":
        """The same about somebody else, with the metadata left out: it cannot be known."""
        return replace(self, data={**self.data, "id": subject}, metadata={})


def of_interaction(interaction: Interaction, event: str) -> Event:
    """An event about an interaction as it is now."""
    data: Json = {"id": interaction.id}
    if event == "interaction.failed":
        error = interaction.errors[0] if interaction.errors else {}
        data |= {"error_code": error.get("code", ""), "error_message": error.get("message", "")}
    request = interaction.request
    return Event(
        event,
        interaction.id,
        interaction.project,
        interaction.updated,
        data,
        request.metadata,
        request.uris,
    )


def encode(body: Any) -> bytes:
    """An event's bytes: compact JSON, the very bytes that are signed and sent."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
