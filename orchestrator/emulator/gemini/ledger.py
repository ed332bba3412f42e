"""Who asked for which job how often: tests count doubled jobs and polls by it. Pure: values in, JSON out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

Json = dict[str, Any]
OK: Final = 200
FILM: Final = "video_interaction"
GETS: Final = ("videos.get", "batches.get", "get")
POLLS: Final = ("videos.get", "batches.get", "batches.list")


@dataclass(frozen=True)
class Job:
    """A job that was really begun.

    Args:
        name: The resource: an operation, a batch or an interaction.
        subject: What its deliveries are filed under.
        files: Names of what it made.
    """

    kind: str
    name: str
    subject: str
    metadata: Mapping[str, Any]
    display_name: str
    state: str
    created: datetime
    ended: datetime | None
    files: Sequence[str]

    @property
    def job(self) -> str:
        """The caller's own id: `job` of its metadata, else its display name, else the resource's name."""
        return str(self.metadata.get("job") or self.display_name or self.name)


def ledger(jobs: Iterable[Job], requests: Sequence[Json], subjects: Iterable[str | None]) -> Json:
    """What was begun, read and fetched.

    Args:
        requests: All requests, as they were recorded.
        subjects: Of every delivery.

    Returns:
        `jobs`, one entry for each really begun; per caller's id `starts` (begun), `gets` (of the resource,
        refused ones too) and `downloads` (answered 200); `doubled`, the ids begun more than once; `polls`,
        all gets of jobs and all lists of batches, also of names there are none of.
    """
    gets = Counter(_resource(request) for request in requests if request["operation"] in GETS)
    whole = [r for r in requests if r["operation"] == "files.download" and r["status"] == OK]
    fetched, told = Counter(_resource(request) for request in whole), Counter(subjects)
    lines = [_line(job, gets, fetched, told) for job in jobs]
    starts = Counter(line["job"] for line in lines)
    films = sum(line["gets"] for line in lines if line["kind"] == FILM)
    return {
        "jobs": lines,
        "starts": dict(starts),
        "gets": _summed(lines, "gets"),
        "downloads": _summed(lines, "downloads"),
        "doubled": sorted(job for job, count in starts.items() if count > 1),
        "polls": sum(request["operation"] in POLLS for request in requests) + films,
    }


def _resource(request: Json) -> str:
    """The path of a request without its version and verb."""
    path: str = request["path"].strip("/").partition("/")[2]
    return path.partition(":")[0]


def _line(job: Job, gets: Counter[str], fetched: Counter[str], told: Counter[str | None]) -> Json:
    path = f"interactions/{job.name}" if job.kind == FILM else job.name
    return {
        "kind": job.kind,
        "name": job.name,
        "job": job.job,
        "metadata": dict(job.metadata),
        "state": job.state,
        "created": job.created.isoformat(),
        "ended": None if job.ended is None else job.ended.isoformat(),
        "files": list(job.files),
        "gets": gets[path],
        "downloads": sum(fetched[name] for name in job.files),
        "events": told[job.subject],
    }


def _summed(lines: list[Json], key: str) -> Json:
    total: Counter[str] = Counter()
    for line in lines:
        total[line["job"]] += line[key]
    return dict(total)
