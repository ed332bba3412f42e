"""Approvals over HTTP pass the same gate as Slack's buttons."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from litestar.testing import TestClient
from web_kit import CHANNEL, DIGEST, House, bearer, later

from orchestrator.domain.consent import Terms
from orchestrator.domain.model import CallStatus
from orchestrator.domain.verdicts import NO_REASON


def answer(client: TestClient, approval: str, body: Any, caller: str = "ops") -> Any:
    return client.post(f"/v1/approvals/{approval}/decision", json=body, headers=bearer(caller))


def test_an_approval_is_shown(client: TestClient, house: House) -> None:
    approval = house.question()
    shown = client.get(f"/v1/approvals/{approval.id}", headers=bearer("reader")).json()
    assert shown["tool"] == "refund_order"
    assert shown["arguments"] == {"order_id": "A-1042", "amount_cents": 1250}
    assert (shown["status"], shown["call_status"], shown["revision"]) == ("pending", "awaiting_approval", 1)
    assert shown["approvers"] == ["U0ALICE", "api:ops"]
    assert (shown["digest"], shown["verdict"]) == (DIGEST, None)
    assert shown["expires_at"] == "2026-11-22T12:00:00Z"
    assert shown["links"]["decision"] == f"/v1/approvals/{approval.id}/decision"


def test_a_machine_approves_under_its_own_name(client: TestClient, house: House) -> None:
    approval = house.question()
    body = {"verdict": "approve", "reason": "fine", "digest": DIGEST[:16]}
    got = answer(client, approval.id, body)
    assert got.status_code == 200
    assert (got.json()["status"], got.json()["call_status"]) == ("approved", "ready")
    assert got.json()["verdict"] == {
        "approve": True,
        "refine": False,
        "answer": None,
        "stop": False,
        "by": {"id": "api:ops", "name": "ops", "door": "api"},
        "at": "2026-11-21T12:00:00Z",
        "reason": "fine",
    }
    assert got.json()["start_by"] == "2026-11-21T13:00:00Z"
    assert house.woken


def test_a_token_that_stands_for_a_person_decides_as_that_person(client: TestClient, house: House) -> None:
    approval = house.question(approvers=("U0ALICE",))
    got = answer(client, approval.id, {"verdict": "reject", "reason": "no"}, caller="alice")
    assert got.status_code == 200
    assert got.json()["verdict"]["by"] == {"id": "U0ALICE", "name": "alice", "door": "api"}
    assert house.load(got.json()["run"]).turn.number == 2  # the model is told


def test_who_is_not_named_may_not(client: TestClient, house: House) -> None:
    approval = house.question(approvers=("U0BOB",))
    for token in ("ops", "alice", "all"):
        got = answer(client, approval.id, {"verdict": "approve"}, caller=token)
        assert got.status_code == 403
        named = "; its approvers do not name this token" if token != "alice" else ""
        assert got.json()["detail"].endswith(f"may not decide about refund_order{named}")
    assert client.get(f"/v1/approvals/{approval.id}", headers=bearer()).json()["status"] == "pending"


def test_a_machine_does_not_stand_for_a_person(client: TestClient, house: House) -> None:
    approval = house.question(approvers=("U0ALICE",))
    assert answer(client, approval.id, {"verdict": "approve"}).status_code == 403
    machines = house.question(approvers=("api:ops",))
    assert answer(client, machines.id, {"verdict": "approve"}, caller="alice").status_code == 403


def test_the_second_is_told_who_was_first(client: TestClient, house: House) -> None:
    approval = house.question()
    answer(client, approval.id, {"verdict": "approve"}, caller="alice")
    late = answer(client, approval.id, {"verdict": "reject"})
    assert late.status_code == 409
    assert late.json()["detail"] == "already approved by alice at 2026-11-21 12:00:00 UTC"


def test_of_many_at_once_one_decides(client: TestClient, house: House) -> None:
    approval = house.question()
    wishes = [("approve", "ops"), ("reject", "alice")] * 10
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(lambda w: answer(client, approval.id, {"verdict": w[0]}, w[1]).status_code, wishes)
        )
    assert sorted(codes) == [200] + [409] * 19


@pytest.mark.parametrize(("seconds", "status"), [(86_399, 200), (86_400, 409), (86_401, 409)])
def test_an_answer_counts_until_the_last_second(
    client: TestClient, house: House, seconds: int, status: int
) -> None:
    approval = house.question()
    house.clock.now = later(seconds=seconds)
    assert answer(client, approval.id, {"verdict": "approve"}).status_code == status


def test_a_question_that_has_changed(client: TestClient, house: House) -> None:
    approval = house.question()
    got = answer(client, approval.id, {"verdict": "approve", "digest": "0" * 16})
    assert got.status_code == 409
    assert "changed" in got.json()["detail"]


def test_only_plans_are_sent_back(client: TestClient, house: House) -> None:
    approval = house.question()
    for nothing in ({}, {"reason": ""}, {"reason": "\u3164 \u2800"}):
        mute = answer(client, approval.id, {"verdict": "refine"} | nothing)
        assert (mute.status_code, mute.json()["errors"][0]["field"]) == (400, "reason")
    got = answer(client, approval.id, {"verdict": "refine", "reason": "less"})
    assert (got.status_code, got.json()["detail"]) == (409, "only a plan can be sent back with a note")


def test_a_rejection_that_needs_a_reason_is_told_which_field_lacks(client: TestClient, house: House) -> None:
    approval = house.question(terms=Terms(("U0ALICE", "api:ops"), CHANNEL, reason_required=True))
    for nothing in ({}, {"reason": " \u034f\u3164"}):
        mute = answer(client, approval.id, {"verdict": "reject"} | nothing)
        assert (mute.status_code, mute.json()["detail"]) == (409, NO_REASON)
        assert [e["field"] for e in mute.json()["errors"]] == ["reason"]
    assert answer(client, approval.id, {"verdict": "reject", "reason": "too dear"}).status_code == 200


def test_the_question_of_an_ended_run_takes_no_answer(client: TestClient, house: House) -> None:
    run = house.asked()
    approval = run.turn.calls[0].approval
    assert approval is not None
    client.post(f"/v1/runs/{run.id}/cancel", headers=bearer())
    got = answer(client, approval.id, {"verdict": "approve"})
    assert (got.status_code, got.json()["detail"]) == (409, "already withdrawn")
    assert house.load(run.id).turn.calls[0].status is CallStatus.SETTLED


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"verdict": "yes"},
        {"verdict": True},
        {"verdict": "approve", "arguments": {"amount_cents": 1}},
        {"verdict": "approve", "entitled_as": "U0ALICE"},
        {"verdict": "approve", "reason": "x" * 1001},
        {"verdict": "approve", "digest": DIGEST[:15]},
        {"verdict": "approve", "digest": DIGEST.upper()},
        {"verdict": "approve", "digest": DIGEST + "0"},
        {"verdict": "approve", "digest": ""},
        {"verdict": "approve", "digest": None},
        {"verdict": "approve", "reason": "a\x00b"},
    ],
)
def test_an_answer_that_does_not_fit(client: TestClient, house: House, body: Any) -> None:
    approval = house.question()
    assert answer(client, approval.id, body).status_code == 400
    assert client.get(f"/v1/approvals/{approval.id}", headers=bearer()).json()["status"] == "pending"


@pytest.mark.parametrize("approval", ["apr_000000000000000000000000", "x", "%00", "run_1", "a" * 100])
def test_an_unknown_approval_is_not_found(client: TestClient, approval: str) -> None:
    assert client.get(f"/v1/approvals/{approval}", headers=bearer()).status_code == 404
    assert answer(client, approval, {"verdict": "approve"}).status_code == 404


def test_approvals_are_listed_and_filtered(client: TestClient, house: House) -> None:
    ids = [house.question().id for _ in range(5)]
    answer(client, ids[0], {"verdict": "approve"})
    pending = client.get("/v1/approvals?status=pending", headers=bearer()).json()
    assert {a["id"] for a in pending["items"]} == set(ids[1:])
    seen: list[str] = []
    query: str | None = "limit=2"
    while query:
        page = client.get(f"/v1/approvals?{query}", headers=bearer()).json()
        seen += [a["id"] for a in page["items"]]
        query = f"limit=2&cursor={page['next']}" if page["next"] else None
    assert sorted(seen) == sorted(ids)
    assert client.get("/v1/approvals?status=open", headers=bearer()).status_code == 400
