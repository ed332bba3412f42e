"""The long jobs of one emulator together: videos, batches, their files, and films out of interactions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.emulator.gemini import scenarios
from orchestrator.emulator.gemini.batches import ENDS as BATCH_ENDS
from orchestrator.emulator.gemini.batches import Batches
from orchestrator.emulator.gemini.clock import Clock
from orchestrator.emulator.gemini.deliveries import Courier
from orchestrator.emulator.gemini.faults import Fault
from orchestrator.emulator.gemini.files import MP4, File, Files, download_uri
from orchestrator.emulator.gemini.films import SHAPES, omni_seconds, wants_film
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.interactions import RUNNING, Interaction
from orchestrator.emulator.gemini.jobkinds import OUTCOMES, OVERSIZE_COPIES
from orchestrator.emulator.gemini.ledger import FILM, Job, ledger
from orchestrator.emulator.gemini.mp4 import film
from orchestrator.emulator.gemini.plans import BATCH, VIDEO, Plan, Plans
from orchestrator.emulator.gemini.scenarios import ScenarioError
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.videos import LIVE, Videos

Json = dict[str, Any]
FOREIGN = b"\x89PNG\r\n\x1a\n"  # how a picture begins


class Jobs:
    """What the job methods do, faults included.

    Args:
        address: Tells the emulator's own address.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        clock: Clock,
        ids: Ids,
        courier: Courier,
        address: Callable[[], str],
    ) -> None:
        self._settings, self._courier, self._address = settings, courier, address
        self.plans = Plans()
        self.plans.add(list(settings.jobs))
        self.files = Files(settings, clock, ids, address)
        told = courier.announce
        self.batches = Batches(settings, clock, ids, self.plans, self.files, told)
        self.videos = Videos(settings, clock, ids, self.plans, self.files, told, address)

    def add_plans(self, given: Sequence[Any], *, replace: bool = False) -> list[str]:
        """Put plans before those there are, or in their place; returns their names.

        Raises:
            ScenarioError: They cannot be followed.
        """
        try:
            return self.plans.add(list(given), replace=replace)
        except ValueError as error:
            raise ScenarioError(str(error)) from error

    def read_plans(self, source: Path | str | Mapping[str, Any] | None) -> None:
        """Add the plans that stand in a scenario file.

        Raises:
            ScenarioError: They cannot be followed.
        """
        if source is not None:
            self.add_plans(scenarios.jobs(source))

    async def create_video(self, project: str, model: str, body: Any, fault: Fault | None) -> Json:
        """Begin a video; the answer is its name.

        Raises:
            ApiError: 400, 404.
        """
        made = self.videos.create(project, model, body, _plan(fault, VIDEO))
        answer = made.view()
        if fault is not None and fault.kind == "early":
            self.videos.end(made.id)
            await self._courier.flush(made.id)
        return answer

    def get_video(self, project: str, model: str, name: str, fault: Fault | None) -> Json:
        """An operation as it is, or as it was before it ended.

        Raises:
            ApiError: 404.
        """
        found = self.videos.get(project, model, name)
        return found.past[-1] if _stale(fault) and found.past else found.view()

    async def create_batch(
        self, project: str, model: str, body: Any, fault: Fault | None, *, size: int
    ) -> Json:
        """Begin a batch.

        Raises:
            ApiError: 400, 404.
        """
        made = self.batches.create(project, model, body, _plan(fault, BATCH), size=size)
        answer = made.view()
        if fault is not None and fault.kind == "early":
            self.batches.end(made.id)
            await self._courier.flush(made.id)
        return answer

    def get_batch(self, project: str, name: str, fault: Fault | None) -> Json:
        """A batch as it is, or as it was before its last change.

        Raises:
            ApiError: 404.
        """
        found = self.batches.get(project, name)
        return found.past[-1] if _stale(fault) and found.past else found.view()

    def cancel_batch(self, project: str, name: str, fault: Fault | None) -> None:
        """Stop a batch, or only say so.

        Raises:
            ApiError: 400, 404.
        """
        if fault is not None and fault.kind == "ignored":
            self.batches.get(project, name)
            return
        self.batches.cancel(project, name)

    def download(self, project: str, name: str, fault: Fault | None) -> tuple[bytes, str]:
        """A generated file's bytes and media type, or what a fault makes of them.

        Raises:
            ApiError: 400, 403, 404.
        """
        if fault is not None and fault.kind == "gone":
            self.files.delete(project, name)
        found = self.files.download(project, name)
        return _spoilt(found, fault), found.type

    def film(self, interaction: Interaction, wanted: Json) -> list[Json]:
        """The contents of a turn that is a film, kept as files; a GET may show them inline."""
        form = wants_film(interaction.request.body) or {}
        seconds = float(wanted.get("seconds") or omni_seconds(form))
        size = wanted.get("bytes", self._settings.video_bytes)
        contents = []
        for number in range(wanted.get("samples", 1)):
            seed = f"{interaction.id}#{number}"
            content = film(seed, seconds=seconds, shape=form.get("aspect_ratio", SHAPES[0]), size=size)
            made = self.files.generate(interaction.project, content, MP4, seconds)
            uri = download_uri(self._address(), made.name)
            contents.append(_video(interaction, uri, content, form, self._settings.video_get))
        return contents

    def ledger(self, interactions: Sequence[Interaction], requests: Sequence[Json]) -> Json:
        """What was begun, read and fetched; as `ledger.ledger`."""
        told = [delivery.interaction for delivery in self._courier.deliveries]
        return ledger(self._begun(interactions), requests, told)

    def _begun(self, interactions: Sequence[Interaction]) -> list[Job]:
        found = [_of_video(operation) for operation in self.videos.all()]
        found += [_of_batch(batch) for batch in self.batches.all()]
        found += [_of_film(made) for made in interactions if wants_film(made.request.body) is not None]
        return sorted(found, key=lambda job: job.created)


def _plan(fault: Fault | None, kind: str) -> Plan | None:
    """The plan that a fault makes, if it makes one; `early` leaves it to the scripts."""
    end = OUTCOMES.get(fault.kind) if fault is not None else None
    return None if end is None else replace(Plan(match={"kind": kind}), end=end)


def _stale(fault: Fault | None) -> bool:
    return fault is not None and fault.kind == "stale"


def _spoilt(file: File, fault: Fault | None) -> bytes:
    content = file.content
    match fault.kind if fault is not None else "":
        case "short":
            return content[: len(content) // 2]
        case "wrong_type":
            return FOREIGN + content[len(FOREIGN) :]
        case "altered":
            middle = len(content) // 2
            return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        case "oversize" if fault is not None:
            return content * (1 + fault.further(OVERSIZE_COPIES))
        case _:
            return content


def _video(interaction: Interaction, uri: str, content: bytes, form: Json, shown: str) -> Json:
    """A video content with its URI; `films` says what stands there instead on a GET, or at once."""
    if shown == "inline" or form.get("delivery") != "uri":
        interaction.films[uri] = content
    return {"type": "video", "mime_type": MP4, "uri": uri}


def _of_video(operation: Any) -> Job:
    request = operation.request
    ended, state = operation.ended, operation.state
    told = (operation.name, operation.id, request.metadata, "", state, operation.created, ended)
    return Job("video", *told, operation.files)


def _of_batch(batch: Any) -> Job:
    request = batch.request
    ended = batch.updated if batch.state in BATCH_ENDS else None
    told = (batch.name, batch.id, request.metadata, request.display_name, batch.state, batch.created, ended)
    return Job("batch", *told, batch.files)


def _of_film(made: Interaction) -> Job:
    live = made.status in RUNNING
    uris = [block.get("uri", "") for step in made.steps for block in _contents(step)]
    files = ["files/" + uri.rpartition("/")[2].partition(":")[0] for uri in uris if uri]
    told = (made.id, made.id, made.request.metadata, "", LIVE if live else made.status, made.created)
    return Job(FILM, *told, None if live else made.updated, files)


def _contents(step: Any) -> list[Json]:
    content = step.get("content") if isinstance(step, dict) else None
    return [block for block in content or () if isinstance(block, dict) and block.get("type") == "video"]
