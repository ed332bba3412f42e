"""The Interactions API as far as the service asks it, at next to no cost to a measurement."""

import json
import secrets
from typing import Any

from bench import asgi


class Interactions:
    """They begin, and stay in progress until somebody moves them. An ASGI application."""

    def __init__(self) -> None:
        self.interactions: dict[str, dict[str, Any]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await asgi.lifespan(receive, send)
            return
        asked = await asgi.body(receive)
        if scope["method"] == "POST" and scope["path"].endswith("/interactions"):
            said: dict[str, Any] | None = self.create(json.loads(asked))
        else:
            said = self.fetch(scope["path"].rsplit("/", 1)[1])
        lacking = {"error": {"code": "not_found", "message": "none"}}
        await asgi.answer(send, said or lacking, 200 if said else 404)

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The interaction that such a request begins."""
        made: dict[str, Any] = {"id": f"v1_{secrets.token_hex(8)}", "status": "in_progress"}
        made |= {"webhook_config": asked.get("webhook_config"), "steps": []}
        self.interactions[made["id"]] = made
        return made

    def fetch(self, interaction_id: str) -> dict[str, Any] | None:
        """What is read of it; None where there is none."""
        return self.interactions.get(interaction_id)
