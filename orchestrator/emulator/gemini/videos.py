"""Videos by long-running calls: `models/{model}:predictLongRunning` and its operations.

    (live) ──▶ done with samples │ done with an error │ done, everything filtered │ done with nothing

Source: Gemini API, Veo. An operation has no status besides `done`, and it cannot be cancelled.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from orchestrator.emulator.gemini.clock import Cancellable, Clock
from orchestrator.emulator.gemini.errors import not_found
from orchestrator.emulator.gemini.events import Event
from orchestrator.emulator.gemini.files import MP4, Files, download_uri
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.jobrequests import VideoRequest, check_model, check_video
from orchestrator.emulator.gemini.mp4 import film
from orchestrator.emulator.gemini.plans import ENDS, VIDEO, Plan, Plans
from orchestrator.emulator.gemini.settings import EmulatorSettings

Json = dict[str, Any]
LIVE: Final = "live"
TYPE: Final = "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse"
ERROR: Final = {"code": 13, "message": "Video generation failed due to an internal server issue."}
FILTERED: Final = "The video could not be generated: the prompt violates our usage guidelines."


@dataclass(eq=False)
class Operation:
    """One video job. `state` is live, or one of the ends of a plan; `address` is where we were asked."""

    id: str
    project: str
    model: str
    request: VideoRequest
    plan: Plan
    address: str
    created: datetime
    ended: datetime | None = None
    state: str = LIVE
    files: tuple[str, ...] = ()
    past: list[Json] = field(default_factory=list)
    job: Cancellable | None = None

    @property
    def name(self) -> str:
        """The resource: `models/{model}/operations/{id}`."""
        return f"models/{self.model}/operations/{self.id}"

    def view(self) -> Json:
        """The operation as JSON; as long as it is live, it has nothing but a name."""
        if self.state == LIVE:
            return {"name": self.name}
        if self.state == "failed":
            return {"name": self.name, "done": True, "error": {**ERROR, **self.plan.error}}
        return {"name": self.name, "done": True, "response": {"@type": TYPE, **self._response()}}

    def _response(self) -> Json:
        if self.state == "filtered":
            count = self.request.samples
            refused = {"raiMediaFilteredCount": count, "raiMediaFilteredReasons": [FILTERED] * count}
            return {"generateVideoResponse": refused}
        samples = [{"video": {"uri": download_uri(self.address, name)}} for name in self.files]
        return {"generateVideoResponse": {"generatedSamples": samples} if samples else {}}


class Videos:
    """Every project's video operations.

    Args:
        announce: Called with the event of a video that is there.
        address: Tells the emulator's own address, for the URIs in answers.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        clock: Clock,
        ids: Ids,
        plans: Plans,
        files: Files,
        announce: Callable[[Event], None],
        address: Callable[[], str],
    ) -> None:
        self._settings, self._clock, self._ids = settings, clock, ids
        self._plans, self._files, self._announce, self._address = plans, files, announce, address
        self._all: dict[str, Operation] = {}

    def all(self) -> list[Operation]:
        """Every operation, oldest first."""
        return list(self._all.values())

    def create(self, project: str, model: str, body: Any, plan: Plan | None = None) -> Operation:
        """Take a request and begin.

        Args:
            plan: Instead of the one that would be chosen.

        Raises:
            ApiError: 400; 404 for a model that makes no videos.
        """
        check_model(model, "predictLongRunning", self._settings)
        request = check_video(body, self._settings)
        plan = plan or self._plans.choose(VIDEO, model, request.prompt, request.metadata)
        now, address = self._clock.now(), self._address()
        made = Operation(self._ids.webhook(), project, model, request, plan, address, created=now)
        self._all[made.id] = made
        if plan.end != "stuck":
            wait = self._settings.video_seconds if plan.seconds is None else plan.seconds

            async def finish() -> None:
                self.end(made.id)

            made.job = self._clock.schedule(wait, finish)
        return made

    def get(self, project: str, model: str, name: str) -> Operation:
        """An operation of this project.

        Raises:
            ApiError: 404.
        """
        found = self._all.get(name)
        if found is None or found.project != project or found.model != model:
            raise not_found("Operation", f"models/{model}/operations/{name}")
        return found

    def end(self, name: str, end: str | None = None) -> Operation:
        """Bring an operation to its end at once, with its webhooks; one that has ended stays as it is.

        Args:
            end: One of `plans.ENDS` of videos; None is what the plan says.

        Raises:
            KeyError: No such operation.
            ValueError: No such end.
        """
        found = self._all[name]
        end = end or found.plan.end
        if end not in ENDS[VIDEO] or end == "stuck":
            raise ValueError(f"'{end}' is no end of a video; known: {', '.join(ENDS[VIDEO][:-1])}")
        if found.state != LIVE:
            return found
        if found.job is not None:
            found.job.cancel()
        found.past.append(found.view())
        found.state, found.ended = end, self._clock.now()
        if end == "succeeded":
            found.files = self._filmed(found)
        self._tell(found)
        return found

    def _filmed(self, operation: Operation) -> tuple[str, ...]:
        request, plan = operation.request, operation.plan
        size = self._settings.video_bytes if plan.bytes is None else plan.bytes
        made = []
        for number in range(request.samples if plan.samples is None else plan.samples):
            seed = f"{operation.name}#{number}"
            content = film(seed, seconds=request.seconds, shape=request.shape, size=size)
            made.append(self._files.generate(operation.project, content, MP4, request.seconds).name)
        return tuple(made)

    def _tell(self, operation: Operation) -> None:
        """A failure has no event of its own in any document; a setting sends one all the same."""
        event, plan = self._event(operation), operation.plan
        if plan.event is not None:
            if plan.event:
                self._announce(event)
        elif operation.files or self._settings.video_events == "ended":
            self._announce(event)

    def _event(self, operation: Operation) -> Event:
        settings = self._settings
        data: Json = {"id": operation.name if settings.video_event_id == "name" else operation.id}
        if operation.files:
            data["file_name"] = operation.files[0]
            data[settings.video_event_uri] = download_uri(operation.address, operation.files[0])
        request, at = operation.request, operation.ended or self._clock.now()
        type_ = operation.plan.event or "video.generated"
        return Event(type_, operation.id, operation.project, at, data, request.metadata, request.uris)
