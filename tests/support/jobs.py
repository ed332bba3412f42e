"""Gemini's long jobs in memory: starts counted, ends told by hand, answers lost when asked to."""

from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from orchestrator.domain.jobs import Harvest, JobKind, JobOrder, JobReading, JobState, StoredFile
from orchestrator.errors import RejectedError, StorageError, UnavailableError, UncertainError


@dataclass
class FakeJobs:
    """Implements `JobsPort`.

    Faults by operation (`start`, `fetch`, `find`, `cancel`, `harvest`): `busy`, `lost` (before acceptance),
    `lost_after` (it was accepted), `refused`, `full` (a harvest alone). `weather`, where given,
    names those that are not told by hand.
    What is `unlisted` is not found, and a release before told no attempts.
    With `prompt` whoever reads a job finds it done.
    """

    made: dict[str, JobOrder] = field(default_factory=dict)
    states: dict[str, JobState] = field(default_factory=dict)
    faults: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    requests: Counter[str] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)
    cancelled: list[str] = field(default_factory=list)
    harvests: Counter[str] = field(default_factory=Counter)
    searchable: bool = True
    unlisted: set[str] = field(default_factory=set)
    attempts_told: bool = True
    meanwhile: Callable[[str], Awaitable[None]] | None = None  # happens before a start is answered
    prompt: bool = False
    weather: Callable[[str], str] | None = None

    async def start(self, order: JobOrder) -> JobReading:
        fault = self._fault("start")
        if fault in ("busy", "refused"):
            raise UnavailableError("429") if fault == "busy" else RejectedError("no such model")
        if fault == "lost":
            raise UncertainError("reset before it was read")
        self.starts[order.id] += 1
        remote = _remote(order, len(self.made) + 1)
        self.made[remote] = order
        self.states[remote] = JobState.LIVE
        if self.meanwhile is not None:
            await self.meanwhile(remote)
        if fault == "lost_after":
            raise UncertainError("reset after it was read")
        return JobReading(remote, JobState.LIVE, job=order.id)

    async def fetch(self, kind: JobKind, remote: str) -> JobReading:
        if self._fault("fetch"):
            raise UnavailableError("503")
        if remote not in self.made:
            raise RejectedError("no such job", code="not_found")
        self._hurry(remote)
        return JobReading(remote, self.states[remote], job=self.made[remote].id)

    async def find(self, order: JobOrder) -> tuple[JobReading, ...]:
        if self._fault("find"):
            raise UnavailableError("503")
        shown = [r for r in reversed(self.made) if r not in self.unlisted] if self.searchable else []
        return tuple(self._listed(r) for r in shown if self.made[r].id == order.id)

    def _listed(self, remote: str) -> JobReading:
        self._hurry(remote)
        order = self.made[remote]
        return JobReading(
            remote, self.states[remote], job=order.id, attempt=order.attempt if self.attempts_told else 0
        )

    async def cancel(self, kind: JobKind, remote: str) -> None:
        if self._fault("cancel"):
            raise UnavailableError("503")
        self.cancelled.append(remote)
        if self.states.get(remote) is JobState.LIVE and kind is not JobKind.VIDEO:
            self.states[remote] = JobState.CANCELLED

    async def harvest(self, order: JobOrder, remote: str) -> Harvest:
        if fault := self._fault("harvest"):
            if fault == "absent":
                return Harvest((), trouble="HTTP 404", absent=True)
            if fault == "full":
                raise StorageError("the disk is full")
            raise UnavailableError("503")
        self.harvests[order.id] += 1
        path = f"{order.run_id}/{order.id}-1.mp4"
        return Harvest((StoredFile(path, "video/mp4", 1024, order.id.removeprefix("job_").ljust(64, "0")),))

    def end(self, state: JobState = JobState.DONE) -> list[str]:
        """All that live have come to that; returns their names."""
        ended = [remote for remote, now in self.states.items() if now is JobState.LIVE]
        self.states.update(dict.fromkeys(ended, state))
        return ended

    def _hurry(self, remote: str) -> None:
        if self.prompt and self.states[remote] is JobState.LIVE:
            self.states[remote] = JobState.DONE

    def _fault(self, operation: str) -> str:
        self.requests[operation] += 1
        if self.faults[operation]:
            return self.faults[operation].popleft()
        told = self.weather(operation) if self.weather else "fine"
        return "" if told == "fine" else told


def _remote(order: JobOrder, number: int) -> str:
    named = {JobKind.VIDEO: f"models/veo-3.1/operations/op{number}", JobKind.BATCH: f"batches/b{number}"}
    return named.get(order.kind, f"v1_film{number}")
