"""Batches of `generateContent` requests.

    BATCH_STATE_PENDING ──▶ RUNNING ──▶ SUCCEEDED, FAILED, CANCELLED, EXPIRED

Source: Gemini API, Batch; answers in the camel case the client library reads, errors in the older shape.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from orchestrator.emulator.gemini.clock import Cancellable, Clock
from orchestrator.emulator.gemini.errors import not_found, precondition
from orchestrator.emulator.gemini.events import Event
from orchestrator.emulator.gemini.files import JSONL, Files
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.interactions import instant
from orchestrator.emulator.gemini.jobrequests import BatchRequest, check_batch, check_model, read_lines
from orchestrator.emulator.gemini.pages import page
from orchestrator.emulator.gemini.plans import BATCH, Plan, Plans
from orchestrator.emulator.gemini.results import Results, results, text_of
from orchestrator.emulator.gemini.settings import EmulatorSettings

Json = dict[str, Any]
PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"
CANCELLED: Final = "batch.cancelled"  # has an event in the guide only; nobody can subscribe to it
ENDS: Final = {
    "SUCCEEDED": "batch.succeeded",
    "FAILED": "batch.failed",
    "EXPIRED": "batch.expired",
    "CANCELLED": CANCELLED,
}
EVENT_IDS: Final = {"guide": "batch_{}", "bare": "{}", "resource": "batches/{}"}
TYPE: Final = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"


@dataclass(eq=False)
class Batch:
    """One batch. `id` is bare; the resource is called `batches/{id}`."""

    id: str
    project: str
    model: str
    request: BatchRequest
    lines: Sequence[Any]
    plan: Plan
    created: datetime
    updated: datetime
    state: str = PENDING
    results: Results | None = None
    output: Json = field(default_factory=dict)
    error: Json | None = None
    past: list[Json] = field(default_factory=list)
    job: Cancellable | None = None

    @property
    def name(self) -> str:
        """The resource: `batches/{id}`."""
        return f"batches/{self.id}"

    @property
    def inline(self) -> bool:
        """Did the requests come with the create?"""
        return self.request.file is None

    @property
    def files(self) -> tuple[str, ...]:
        """The file with its results, if there is one."""
        return (self.output["responsesFile"],) if "responsesFile" in self.output else ()

    def view(self) -> Json:
        """The long-running operation as JSON; counts are strings, and those that are 0 are left out."""
        metadata: Json = {
            "@type": TYPE,
            "name": self.name,
            "model": self.model,
            "displayName": self.request.display_name,
            "state": f"BATCH_STATE_{self.state}",
            "createTime": instant(self.created),
            "updateTime": instant(self.updated),
            "batchStats": {key: str(count) for key, count in self._counts().items() if count},
        }
        if self.request.file is not None:
            metadata["inputConfig"] = {"fileName": self.request.file}
        shown: Json = {"name": self.name, "metadata": metadata, "done": self.state in ENDS}
        if self.state in ENDS:
            metadata["endTime"] = instant(self.updated)
        if self.output:
            metadata["output"] = self.output
        return shown if self.error is None else {**shown, "error": self.error}

    def move(self, state: str, now: datetime) -> None:
        """Change the state, keeping what a lagging read would still show."""
        self.past.append(self.view())
        self.state, self.updated = state, now

    def _counts(self) -> dict[str, int]:
        done = self.results
        return {
            "requestCount": len(self.lines),
            "successfulRequestCount": done.succeeded if done else 0,
            "failedRequestCount": done.failed if done else 0,
            "pendingRequestCount": len(self.lines) if self.state in (PENDING, RUNNING) else 0,
        }


class Batches:
    """Every project's batches.

    Args:
        announce: Called with the event of a batch that ended.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        clock: Clock,
        ids: Ids,
        plans: Plans,
        files: Files,
        announce: Callable[[Event], None],
    ) -> None:
        self._settings, self._clock, self._ids = settings, clock, ids
        self._plans, self._files, self._announce = plans, files, announce
        self._all: dict[str, Batch] = {}
        self._made: list[Batch] = []

    def all(self) -> list[Batch]:
        """Every batch taken, deleted ones too, oldest first."""
        return list(self._made)

    def create(
        self, project: str, model: str, body: Any, plan: Plan | None = None, *, size: int = 0
    ) -> Batch:
        """Take a batch.

        Args:
            plan: Instead of the one that would be chosen.
            size: Of the request, in bytes.

        Raises:
            ApiError: 400; 404 for a model or an input file that is not there.
        """
        check_model(model, "batchGenerateContent", self._settings)
        request = check_batch(body, size, self._settings)
        lines = request.requests
        if request.file is not None:
            lines = read_lines(self._files.find(project, request.file).content)
        words, now = " ".join(map(text_of, lines)), self._clock.now()
        plan = plan or self._plans.choose(BATCH, model, words, request.metadata)
        made = Batch(self._ids.webhook(), project, f"models/{model}", request, lines, plan, now, now)
        self._all[made.id] = made
        self._made.append(made)
        self._schedule(made)
        return made

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
        mine = [batch for batch in self._all.values() if batch.project == project]
        return page("operations", mine, Batch.view, page_size, page_token)

    def cancel(self, project: str, name: str) -> None:
        """Stop a batch that runs.

        Raises:
            ApiError: 404; 400 when it has ended.
        """
        if self.get(project, name).state in ENDS:
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

    def end(self, name: str, state: str | None = None, message: str = "") -> Batch:
        """Bring a batch to an end at once, with its webhooks; one that has ended stays as it is.

        Args:
            state: One of `ENDS`, with or without `BATCH_STATE_`; None is what the plan says.
            message: Why it failed.

        Raises:
            KeyError: No such batch.
            ValueError: No such end.
        """
        found = self._all[name]
        state = (state or found.plan.end.upper()).removeprefix("BATCH_STATE_")
        if state not in ENDS:
            raise ValueError(f"'{state}' is no end of a batch; known: {', '.join(ENDS)}")
        if found.state in ENDS:
            return found
        if found.job is not None:
            found.job.cancel()
        found.move(state, self._clock.now())
        if state == "SUCCEEDED":
            self._answer(found)
        if state == "FAILED":
            said = {"message": message} if message else found.plan.error
            found.error = {"code": 13, "message": "The batch failed.", **said}
        self._tell(found)
        return found

    def _schedule(self, made: Batch) -> None:
        plan, settings = made.plan, self._settings
        lasts = settings.batch_seconds if plan.seconds is None else plan.seconds
        pending = settings.batch_pending_seconds if plan.pending is None else plan.pending
        limit = settings.batch_expiry_seconds
        late = plan.end in ("stuck", "expired") or lasts > limit
        ends = limit if plan.end == "stuck" else min(lasts, limit)
        waits = min(pending, ends)

        async def finish() -> None:
            self.end(made.id, "EXPIRED" if late else None)

        async def start() -> None:
            made.move(RUNNING, self._clock.now())
            made.job = self._clock.schedule(ends - waits, finish)

        made.job = self._clock.schedule(waits, start)

    def _answer(self, batch: Batch) -> None:
        seed = f"{self._settings.seed}:{batch.request.display_name}:{len(batch.lines)}"
        done = results(batch.lines, batch.plan, model=batch.model, inline=batch.inline, seed=seed)
        batch.results = done
        if batch.inline:
            batch.output = {"inlinedResponses": {"inlinedResponses": list(done.lines)}}
            return
        content = "".join(json.dumps(line) + "\n" for line in done.lines).encode()
        batch.output = {"responsesFile": self._files.generate(batch.project, content, JSONL).name}

    def _tell(self, batch: Batch) -> None:
        event = ENDS[batch.state] if batch.plan.event is None else batch.plan.event
        if event and (event != CANCELLED or self._settings.batch_cancelled_event):
            self._announce(self._event(batch, event))

    def _event(self, batch: Batch, event: str) -> Event:
        data: Json = {"id": EVENT_IDS[self._settings.batch_event_id].format(batch.id)}
        for file in batch.files:
            data["output_file_uri"] = file
        if batch.error is not None:
            data |= {"error_code": "api_error", "error_message": batch.error["message"]}
        request, at = batch.request, batch.updated
        return Event(event, batch.id, batch.project, at, data, request.metadata, request.uris)
