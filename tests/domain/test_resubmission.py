"""What of a batch is to be asked again; and how long what is under way will take."""

from datetime import timedelta
from typing import Any

import pytest
from support.clock import NOON

from orchestrator.domain.jobreports import MOST_TOLD, counted, left, remaining, results
from orchestrator.domain.jobs import Job, JobKind, JobStatus
from orchestrator.domain.model import CallStatus, ToolCall
from orchestrator.domain.resubmission import LINES_OF, NotResubmittableError, filled, unanswered, wish

LINES = [{"key": f"r{n}", "request": {"n": n}} for n in range(4)]
MINUTE = timedelta(minutes=1)


def batch(status: JobStatus = JobStatus.SUCCEEDED, **more: Any) -> Job:
    return Job("job_1", 1, JobKind.BATCH, {"model": "m", "lines": LINES}, status=status, **more)


def facts(failed: list[str], missing: list[str], **more: Any) -> dict[str, Any]:
    told = {"failed": len(failed), "missing": len(missing), "failed_keys": failed, "missing_keys": missing}
    return {**told, **more}


def test_what_failed_and_what_is_missing_in_the_order_it_was_asked() -> None:
    assert unanswered(batch(facts=facts(["r3", "r0"], ["r2"]))) == ("r0", "r2", "r3")
    for status in (JobStatus.EXPIRED, JobStatus.FAILED, JobStatus.CANCELLED):
        assert unanswered(batch(status)) == ("r0", "r1", "r2", "r3")


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (batch(facts=facts([], [])), "every line"),
        (batch(JobStatus.LIVE), "must have ended"),
        (batch(), "does not tell"),
        (batch(facts={**facts(["r1"], []), "failed": 10_001}), "than are listed"),
        (Job("job_1", 1, JobKind.VIDEO, {}, status=JobStatus.FAILED), "no batch but a video"),
        (Job("job_1", 1, JobKind.BATCH, {"file": "a/b"}, status=JobStatus.FAILED), "does not tell"),
    ],
)
def test_what_cannot_be_asked_again(job: Job, why: str) -> None:
    with pytest.raises(NotResubmittableError, match=why):
        unanswered(job)


def test_exactly_the_named_lines_are_taken_as_they_were() -> None:
    assert wish("job_1", ["r2"]).request == {LINES_OF: "job_1", "keys": ["r2"]}
    assert filled(batch(), ["r2", "r0"]).request == {"model": "m", "lines": [LINES[0], LINES[2]]}
    from_file = Job("job_1", 1, JobKind.BATCH, {"model": "m", "file": "run_1/in.jsonl"})
    assert filled(from_file, ["r2"]).request == {"model": "m", "file": "run_1/in.jsonl", "keys": ["r2"]}
    for keys in (["r2", "r9"], []):
        with pytest.raises(NotResubmittableError, match=f"of the {len(keys)} lines"):
            filled(batch(), keys)


def test_a_model_is_told_a_hundred_keys_and_all_numbers() -> None:
    keys = [f"r{n}" for n in range(500)]
    jobs = (batch(facts=facts(keys, [], usage={"totalTokenCount": 9})),)
    [told] = results(ToolCall("c", "c", "t", {}, CallStatus.AWAITING_JOB, jobs=jobs))["jobs"]
    assert (told["failed"], len(told["failed_keys"]), told["usage"]) == (
        500,
        MOST_TOLD,
        {"totalTokenCount": 9},
    )
    assert told["price"] == "billed at half the price"


def films(done: int, live: int, queued: int, minutes: int = 6) -> list[Job]:
    ended = [{"status": JobStatus.SUCCEEDED, "sent_at": NOON, "ended_at": NOON + minutes * MINUTE}] * done
    others = [{"status": JobStatus.LIVE, "sent_at": NOON}] * live + [{"status": JobStatus.QUEUED}] * queued
    return [Job(f"j{n}", n, JobKind.VIDEO, {}, **more) for n, more in enumerate([*ended, *others])]


def test_how_long_the_others_will_take() -> None:
    assert left(films(3, 10, 37)) == 6 * 47 * MINUTE / 10
    assert left(films(3, 2, 0)) == 6 * MINUTE
    assert left(films(3, 0, 4)) == 24 * MINUTE  # between two
    assert left(films(2, 10, 0)) is None
    assert left(films(50, 0, 0)) is None
    refused = Job("j", 9, JobKind.VIDEO, {}, status=JobStatus.CANCELLED, ended_at=NOON)  # never sent
    assert left([*films(2, 1, 0), refused]) is None
    assert counted([*films(2, 1, 0), refused]) == "3 of 4 jobs done, 1 failed"
    spans = (None, 10 * MINUTE / 60, 6 * MINUTE, 61 * MINUTE)
    words = ["", "about a minute left", "about 6 min left", "about 1 h 1 min left"]
    assert [remaining(s) for s in spans] == words
