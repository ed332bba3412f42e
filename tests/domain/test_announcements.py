"""What callers are told, as it follows from a decision."""

import json
from datetime import timedelta
from typing import Any

from support.clock import NOON
from support.conversation import ANNA, TERMS, recipe

from orchestrator.domain.announcements import MAX_OUTPUT, announce
from orchestrator.domain.callbacks import Callback, News
from orchestrator.domain.consent import Approval, ApprovalStatus, Verdict
from orchestrator.domain.decision import Decision
from orchestrator.domain.events import CancelRequested
from orchestrator.domain.jobs import Job, JobKind, JobStatus, StoredFile
from orchestrator.domain.lifecycle import decide, open_run
from orchestrator.domain.model import CallStatus, Policy, Run, RunStatus, ToolCall, TurnStatus
from orchestrator.domain.values import replace

ALL = Callback("https://a.example/")
ENDS = Callback("https://b.example/", (News.RUN_COMPLETED, News.JOB_FINISHED))


def begun(*callbacks: Callback, **turn: Any) -> Run:
    run = open_run("run_1", replace(recipe(), callbacks=callbacks), "canary-input", ANNA, now=NOON).run
    return replace(run, seq=4, turn=replace(run.turn, status=TurnStatus.ACTION, **turn))


def told(before: Run, after: Run, **more: Any) -> list[tuple[str, str, dict[str, Any]]]:
    found = announce(before, Decision(after, **more), NOON)
    assert len({a.id for a in found}) == len(found)
    assert all(a.body.isascii() for a in found)
    return [(a.url, str(a.event), json.loads(a.body)["data"]) for a in found]


def question(status: ApprovalStatus = ApprovalStatus.PENDING, name: str = "apr_1", **more: Any) -> Approval:
    later = NOON + timedelta(hours=1)
    return Approval(
        id=name, status=status, digest="ab" * 32, terms=TERMS, requested_at=NOON, expires_at=later, **more
    )


def asking(approval: Approval | None = None, **more: Any) -> ToolCall:
    arguments = {"iban": "canary-argument"}
    return ToolCall("call_1", "c1", "pay", arguments, CallStatus.AWAITING_APPROVAL, approval=approval, **more)


def test_nobody_is_told_who_did_not_ask() -> None:
    run = begun()
    assert told(run, replace(run, status=RunStatus.COMPLETED)) == []
    run = begun(ENDS)
    assert told(run, replace(run, status=RunStatus.WAITING)) == []
    assert told(run, run) == []
    assert told(run, replace(run, reason="other")) == []


def test_an_end_is_told_with_a_bounded_output() -> None:
    run = begun(ALL, ENDS)
    after = replace(run, status=RunStatus.COMPLETED, output="\ud800ü" * MAX_OUTPUT)
    found = told(run, after)
    assert [(url, event) for url, event, _ in found] == [
        ("https://a.example/", "run.completed"),
        ("https://b.example/", "run.completed"),
    ]
    data = found[0][2]
    assert (len(data["output"]), data["output_truncated"], data["seq"]) == (MAX_OUTPUT, True, 5)
    again = [a.id for a in announce(run, Decision(after), NOON + timedelta(days=1))]
    assert again == [a.id for a in announce(run, Decision(after), NOON)], "the same happening, the same id"
    failed = told(run, replace(run, status=RunStatus.FAILED, reason="x" * 5000, output="half"))
    assert [(e, len(d["reason"]), "output" in d) for _, e, d in failed] == [("run.failed", 1000, False)]


def test_who_ended_a_run_is_told_and_not_in_which_words() -> None:
    before = begun(ALL)
    cancelled = decide(before, CancelRequested(ANNA, "canary-reason"), policy=Policy(), now=NOON)
    ((_, event, data),) = told(before, cancelled.run)
    assert (event, data["reason"]) == ("run.cancelled", "cancelled by anna")
    given_up = "given up by anna: canary-reason; before that: lost"
    ((_, event, data),) = told(before, replace(before, status=RunStatus.FAILED, reason=given_up))
    assert (event, data["reason"]) == ("run.failed", "given up by anna")


def test_a_question_is_told_with_its_end_and_without_what_it_is_about() -> None:
    before = begun(ALL, calls=(asking(),))
    asked = replace(before, turn=before.turn.with_call(asking(question())), status=RunStatus.WAITING)
    events = [(e, d.get("approval"), d.get("fingerprint")) for _, e, d in told(before, asked)]
    assert events == [("approval.requested", "apr_1", "abababab"), ("run.waiting", None, None)]
    verdict = Verdict(False, ANNA, NOON, "canary-reason")
    no = replace(asked, turn=asked.turn.with_call(asking(question(ApprovalStatus.REJECTED, verdict=verdict))))
    ((_, event, data),) = told(asked, no)
    assert (event, data["status"], data["decision"], data["by"]) == (
        "approval.decided",
        "rejected",
        "reject",
        ANNA.id,
    )
    other = replace(asked, turn=asked.turn.with_call(asking(question(name="apr_2"))))
    replaced = told(asked, other)
    assert [(e, d["approval"], d.get("replaced_by")) for _, e, d in replaced] == [
        ("approval.decided", "apr_1", "apr_2"),
        ("approval.requested", "apr_2", None),
    ]
    assert "canary" not in json.dumps([told(before, asked), told(asked, no), replaced])


def test_a_job_is_told_once_when_it_ends() -> None:
    live = Job("job_1", 1, JobKind.VIDEO, {"prompt": "canary"}, JobStatus.STORING)
    file = StoredFile("run_1/1.mp4", "video/mp4", 7, "00" * 32)
    done = replace(live, status=JobStatus.SUCCEEDED, files=(file,))
    before = begun(ENDS, calls=(asking(jobs=(live, replace(live, id="job_2", number=2))),))
    jobs = (done, replace(live, id="job_2", number=2))
    after = replace(before, turn=before.turn.with_call(asking(jobs=jobs)))
    ((_, event, data),) = told(before, after)
    assert (event, data["job"], data["status"], data["files"][0]["sha256"]) == (
        "job.finished",
        "job_1",
        "succeeded",
        "00" * 32,
    )
    assert "canary" not in json.dumps(data)
    end = replace(after, turn=after.turn.with_call(asking(jobs=(done, replace(done, id="job_2")))))
    assert [d["job"] for _, _, d in told(after, end)] == ["job_2"]
    left = replace(end, turn=replace(end.turn, number=2, calls=()))
    assert [d["job"] for _, _, d in told(after, left, left=end.turn)] == ["job_2"]
