"""Batches of `generateContent` requests, and the files they read and write.

    BATCH_STATE_PENDING ──▶ SUCCEEDED, FAILED, CANCELLED, EXPIRED

Source: Gemini API, Batch; answers in the camel case the client library reads, errors in the older shape.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from orchestrator.emulator.gemini.clock import Cancellable, Clock
from orchestrator.emulator.gemini.errors import invalid, not_found, precondition
from orchestrator.emulator.gemini.events import Event
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.interactions import instant
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.validation import check_uri

Json = dict[str, Any]
PENDING: Final = "PENDING"
ENDS: Final = {
    "SUCCEEDED": "batch.succeeded",
    "FAILED": "batch.failed",
    "EXPIRED": "batch.expired",
    "CANCELLED": "",  # has an event in the guide only; nobody can subscribe to it
}
PAGE_SIZE: Final = 50


@dataclass(eq=False)
class Batch:
    """One batch. `id` is bare, as events have it; the resource is called `batches/{id}`."""

    id: str
    project: str
    model: str
    display_name: str
    requests: Sequence[Any]
    inline: bool
    uris: tuple[str, ...]
    metadata: Json
    created: datetime
    updated: datetime
    state: str = PENDING
    output: Json = field(default_factory=dict)
    error: Json | None = None
    job: Cancellable | None = None

    def view(self) -> Json:
        """The long-running operation as JSON."""
        metadata: Json = {
            "model": self.model,
            "displayName": self.display_name,
            "state": f"BATCH_STATE_{self.state}",
            "createTime": instant(self.created),
            "updateTime": instant(self.updated),
            "batchStats": {"requestCount": str(len(self.requests))},
        }
        shown: Json = {"name": f"batches/{self.id}", "metadata": metadata, "done": self.state in ENDS}
        if self.state in ENDS:
            metadata["endTime"] = instant(self.updated)
        if self.output:
            metadata["output"] = self.output
        return shown if self.error is None else {**shown, "error": self.error}


class Batches:
    """Every project's batches and files.

    Args:
        announce: Called with the event of a batch that ended.
    """

    def __init__(
        self, settings: EmulatorSettings, clock: Clock, ids: Ids, announce: Callable[[Event], None]
    ) -> None:
        self._settings, self._clock, self._ids, self._announce = settings, clock, ids, announce
        self._all: dict[str, Batch] = {}
        self._files: dict[tuple[str, str], bytes] = {}

    def create(self, project: str, model: str, body: Any) -> Json:
        """Take a batch.

        Raises:
            ApiError: 400; 404 for an input file that is not there.
        """
        batch = body.get("batch") if isinstance(body, dict) else None
        if not isinstance(batch, dict):
            raise invalid("'batch' must be set.")
        requests, inline = self._input(project, batch.get("inputConfig"))
        uris, metadata = self._webhook_config(batch.get("webhookConfig", {}))
        now, name = self._clock.now(), f"batch_{self._ids.webhook()}"
        shown = str(batch.get("displayName", ""))
        made = Batch(name, project, f"models/{model}", shown, requests, inline, uris, metadata, now, now)
        self._all[made.id] = made
        self._schedule(made)
        return made.view()

    def get(self, project: str, name: str) -> Batch:
        """A batch of this project.

        Raises:
            ApiError: 404.
        """
        found = self._all.get(name)
        if found is None or found.project != project:
            raise not_found("Batch", name)
        return found

    def list(self, project: str, page_size: str | None, page_token: str | None) -> Json:
        """A page of the project's batches, oldest first.

        Raises:
            ApiError: 400 for a size or token that is no number.
        """
        size, start = page_size or str(PAGE_SIZE), page_token or "0"
        if not (size.isdecimal() and start.isdecimal() and int(size)):
            raise invalid("pageSize and pageToken must be numbers we gave out.")
        mine = [batch for batch in self._all.values() if batch.project == project]
        end = int(start) + int(size)
        page: Json = {"operations": [batch.view() for batch in mine[int(start) : end]]}
        return {**page, "nextPageToken": str(end)} if end < len(mine) else page

    def cancel(self, project: str, name: str) -> None:
        """Stop a batch that runs.

        Raises:
            ApiError: 404; 400 when it has ended.
        """
        found = self.get(project, name)
        if found.state in ENDS:
            raise precondition(f"Batch '{name}' has ended.")
        self.end(name, "CANCELLED")

    def delete(self, project: str, name: str) -> None:
        """Forget a batch.

        Raises:
            ApiError: 404.
        """
        found = self.get(project, name)
        if found.job is not None:
            found.job.cancel()
        del self._all[name]

    def end(self, name: str, state: str, message: str = "The batch failed.") -> Batch:
        """Bring a batch to an end at once, with its webhooks.

        Args:
            state: One of `ENDS`, with or without `BATCH_STATE_`.
            message: Why it failed.

        Raises:
            KeyError: No such batch.
            ValueError: No such end.
        """
        found, state = self._all[name], state.removeprefix("BATCH_STATE_")
        if state not in ENDS:
            raise ValueError(f"'{state}' is no end of a batch; known: {', '.join(ENDS)}")
        if found.job is not None:
            found.job.cancel()
        found.state, found.updated = state, self._clock.now()
        if state == "SUCCEEDED":
            found.output = self._output(found)
        if state == "FAILED":
            found.error = {"code": 13, "message": message}
        if ENDS[state]:
            self._announce(_event(found))
        return found

    def put_file(self, project: str, name: str, content: bytes) -> None:
        """Keep a file, `files/{id}`, that a batch can read."""
        self._files[project, name] = content

    def file(self, project: str, name: str) -> bytes:
        """A file's content.

        Raises:
            ApiError: 404.
        """
        found = self._files.get((project, name))
        if found is None:
            raise not_found("File", name)
        return found

    def _schedule(self, made: Batch) -> None:
        late = self._settings.batch_seconds > self._settings.batch_expiry_seconds
        state = "EXPIRED" if late else "SUCCEEDED"

        async def finish() -> None:
            self.end(made.id, state)

        wait = min(self._settings.batch_seconds, self._settings.batch_expiry_seconds)
        made.job = self._clock.schedule(wait, finish)

    def _input(self, project: str, config: Any) -> tuple[Sequence[Any], bool]:
        config = config if isinstance(config, dict) else {}
        if isinstance(config.get("fileName"), str):
            lines = self.file(project, config["fileName"]).splitlines()
            try:
                return [json.loads(line) for line in lines if line.strip()], False
            except ValueError as error:
                raise invalid(f"The input file is not one JSON object a line: {error}") from error
        requests = config.get("requests", {})
        requests = requests.get("requests") if isinstance(requests, dict) else None
        if not isinstance(requests, list) or not all(isinstance(r, dict) for r in requests) or not requests:
            raise invalid("inputConfig needs 'fileName' or 'requests' with at least one request.")
        return requests, True

    def _webhook_config(self, config: Any) -> tuple[tuple[str, ...], Json]:
        if not isinstance(config, dict) or not isinstance(config.get("uris", []), list):
            raise invalid("Invalid value for 'webhookConfig'.")
        hosts = self._settings.plain_http_hosts
        uris = tuple(check_uri(uri, hosts, "webhookConfig.uris") for uri in config.get("uris", ()))
        metadata = config.get("user_metadata", config.get("userMetadata", {}))
        if not isinstance(metadata, dict):
            raise invalid("Invalid value for 'webhookConfig.user_metadata'.")
        return uris, metadata

    def _output(self, batch: Batch) -> Json:
        if batch.inline:
            answered = [_answered(request, "metadata") for request in batch.requests]
            return {"inlinedResponses": {"inlinedResponses": answered}}
        lines = [json.dumps(_answered(request, "key")) for request in batch.requests]
        name = f"files/{self._ids.webhook()}"
        self.put_file(batch.project, name, ("\n".join(lines) + "\n").encode())
        return {"responsesFile": name}


def _answered(request: Any, key: str) -> Json:
    """What the model says to one request, beside what marks it."""
    asked = request.get("request") if isinstance(request, dict) else None
    mark = {key: request[key]} if isinstance(request, dict) and key in request else {}
    if not isinstance(asked, Mapping) or not asked.get("contents"):
        return {"error": {"code": 3, "message": "contents must be set."}, **mark}
    parts = [p for c in asked["contents"] if isinstance(c, dict) for p in c.get("parts", ())]
    said = " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)
    content = {"role": "model", "parts": [{"text": f"Answer to: {said}"}]}
    return {"response": {"candidates": [{"content": content, "finishReason": "STOP"}]}, **mark}


def _event(batch: Batch) -> Event:
    data: Json = {"id": batch.id}
    if batch.state == "SUCCEEDED" and "responsesFile" in batch.output:
        data["output_file_uri"] = batch.output["responsesFile"]
    if batch.error is not None:
        data |= {"error_code": "api_error", "error_message": batch.error["message"]}
    return Event(ENDS[batch.state], batch.id, batch.project, batch.updated, data, batch.metadata, batch.uris)
