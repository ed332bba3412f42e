"""Runs over HTTP: start, look, stop, settle."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from litestar.testing import TestClient
from web_kit import NOW, TOKENS, House, bearer, later

from orchestrator.domain.consent import Actor, Verdict
from orchestrator.domain.events import ApprovalDecided
from orchestrator.domain.model import CallStatus
from orchestrator.errors import InvalidError, NotFoundError
from orchestrator.web.paging import own_id
from orchestrator.web.schemas.ground import TOO_DEEP
from orchestrator.web.strict import check

START = "/v1/workflows/refund/runs"


def start(client: TestClient, body: Any, caller: str = "all", **headers: str) -> Any:
    return client.post(START, json=body, headers={**bearer(caller), **headers})


def fields(answer: Any) -> dict[str, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return {e["field"]: e["message"] for e in answer.json()["errors"]}


def test_a_run_is_started(client: TestClient, house: House) -> None:
    answer = start(client, {"input": "Order A-1042 arrived broken."})
    run = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/runs/{run['id']}"
    assert (run["status"], run["workflow"], run["turn"]) == ("queued", "refund", 1)
    assert run["input"] == "Order A-1042 arrived broken."
    assert run["requester"] == {"id": "api:all", "name": "all", "door": "api"}
    assert run["created_at"] == "2026-11-21T12:00:00Z"
    assert run["links"]["events"] == f"/v1/runs/{run['id']}/events"
    assert house.load(run["id"]).input == "Order A-1042 arrived broken."
    assert house.woken


def test_an_object_is_rendered_by_its_workflow(client: TestClient) -> None:
    answer = client.post("/v1/workflows/support/runs", json={"input": {"order_id": "A-1"}}, headers=bearer())
    assert (answer.status_code, answer.json()["input"]) == (202, "Order A-1")


def test_the_same_key_gives_the_same_run(client: TestClient) -> None:
    body = {"input": "once"}
    first = start(client, body, **{"Idempotency-Key": "k-1"})
    again = start(client, {**body, "idempotency_key": "k-1"})
    both = start(client, {**body, "idempotency_key": "k-1"}, **{"Idempotency-Key": "k-1"})
    assert [a.status_code for a in (first, again, both)] == [202, 200, 200]
    assert {a.json()["id"] for a in (first, again, both)} == {first.json()["id"]}
    assert again.headers["location"] == first.headers["location"]


def test_the_same_key_at_once_is_one_run(client: TestClient) -> None:
    body = {"input": "once", "idempotency_key": "k-1"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: start(client, body), range(20)))
    assert sorted(a.status_code for a in answers) == [200] * 19 + [202]
    assert len({a.json()["id"] for a in answers}) == 1


def test_the_same_key_for_another_request_is_a_conflict(client: TestClient) -> None:
    start(client, {"input": "once", "idempotency_key": "k-1"})
    other = start(client, {"input": "twice", "idempotency_key": "k-1"})
    assert other.status_code == 409
    assert len(client.get("/v1/runs", headers=bearer()).json()["items"]) == 1


def test_keys_belong_to_their_token(client: TestClient) -> None:
    mine = start(client, {"input": "x", "idempotency_key": "k-1"})
    theirs = start(client, {"input": "y", "idempotency_key": "k-1"}, caller="trigger")
    assert (mine.status_code, theirs.status_code) == (202, 202)


@pytest.mark.parametrize("key", ["", " ", "two words", "k" * 201, "tab\tkey"])
def test_a_key_is_visible_ascii(shared: TestClient, key: str) -> None:
    assert start(shared, {"input": "x", "idempotency_key": key}).status_code == 400
    assert start(shared, {"input": "x"}, **{"Idempotency-Key": key}).status_code == 400


def test_a_key_beyond_ascii_is_refused(client: TestClient) -> None:
    headers = [
        (b"Idempotency-Key", "clé".encode("latin-1")),
        (b"Authorization", f"Bearer {TOKENS['all']}".encode()),
    ]
    assert client.post(START, json={"input": "x"}, headers=headers).status_code == 400


def test_the_longest_key_is_taken(client: TestClient) -> None:
    assert start(client, {"input": "x", "idempotency_key": "k" * 200}).status_code == 202


def test_two_different_keys_are_refused(client: TestClient) -> None:
    answer = start(client, {"input": "x", "idempotency_key": "a"}, **{"Idempotency-Key": "b"})
    assert (answer.status_code, list(fields(answer))) == (400, ["idempotency_key"])


def test_an_unknown_workflow_is_named(client: TestClient) -> None:
    answer = client.post("/v1/workflows/no-such/runs", json={"input": "x"}, headers=bearer())
    assert answer.status_code == 404
    assert "no-such" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "input"),
        ({"input": "x", "kee": 1}, "kee"),
        ({"input": 5}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "function_result", "call_id": "1", "result": "ok"}]}, "input"),
        ({"input": "x", "idempotency_key": 5}, "idempotency_key"),
        ({"input": {"type": "function_call"}}, "input"),
        ({"input": "x", "workflow": "support"}, "workflow"),
    ],
)
def test_what_does_not_fit_is_named(shared: TestClient, body: Any, field: str) -> None:
    answer = start(shared, body)
    assert answer.status_code == 400
    assert field in fields(answer)


def test_an_input_that_breaks_its_schema_names_the_path(client: TestClient) -> None:
    answer = client.post("/v1/workflows/support/runs", json={"input": {}}, headers=bearer())
    assert (answer.status_code, list(fields(answer))) == (400, ["input.order_id"])


BAD_BODIES = {
    "empty": b"",
    "half": b'{"input": ',
    "twice": b'{"input": "a", "input": "b"}',
    "twice inside": b'{"input": {"a": 1, "a": 2}}',
    "nan": b'{"input": NaN}',
    "infinity": b'{"input": -Infinity}',
    "huge float": b'{"input": {"a": 1e999}}',
    "huge integer": b'{"input": {"a": ' + b"9" * 5000 + b"}}",
    "65 bits": b'{"input": {"a": 9223372036854775808}}',
    "broken utf-8": b'{"input": "\xff"}',
    "half pair": b'{"input": "\\ud800"}',
    "half pair in a key": b'{"input": {"\\udfff": 1}}',
    "nul": b'{"input": "a\\u0000b"}',
    "bom": b'\xef\xbb\xbf{"input": "a"}',
    "utf-16": '{"input": "a"}'.encode("utf-16"),
    "deep": b'{"input": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "33 deep": b'{"input": ' + b'{"a":' * 32 + b"1" + b"}" * 32 + b"}",
    "deep and open": b"[" * 60_000,
    "a list": b"[]",
    "null": b"null",
    "text": b'"input"',
    "trailing": b'{"input": "a"} x',
    "control character": b'{"input": "a\nb"}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
@pytest.mark.parametrize(
    "path", [START, "/v1/runs/run_0/cancel", "/v1/runs/run_0/resolve", "/v1/approvals/apr_0/decision"]
)
def test_a_malformed_body_is_a_400(shared: TestClient, path: str, body: bytes) -> None:
    if path.endswith("cancel") and body in (b"", b"null"):
        return  # that body may be left out
    answer = shared.post(path, content=body, headers={**bearer(), "content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("depth", "taken"), [(31, True), (32, True), (33, False), (500, False)])
@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_how_deep_a_body_may_be(depth: int, taken: bool, left: bytes, right: bytes) -> None:
    body = left * depth + b"1" + right * depth
    if taken:
        check(body)
    else:
        with pytest.raises(InvalidError, match="nested too deeply"):
            check(body)


@pytest.mark.parametrize(
    ("number", "taken"), [(2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)]
)
def test_whole_numbers_have_64_bits(number: int, taken: bool) -> None:
    body = json.dumps({"result": {"id": number}}).encode()
    if taken:
        check(body)
    else:
        with pytest.raises(InvalidError, match="64 bits"):
            check(body)


@pytest.mark.parametrize("text", ["run_\0", "", "a" * 65, "run_é", "run_1\n", "../x"])
def test_what_cannot_be_an_id_never_meets_the_database(text: str) -> None:
    """PostgreSQL would answer U+0000 with an error."""
    with pytest.raises(NotFoundError):
        own_id(text, "run")
    assert own_id("run_0123abc", "run") == "run_0123abc"


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/msgpack",
        "application/jsonp",
    ],
)
def test_another_content_type_is_a_415(shared: TestClient, kind: str) -> None:
    headers = {**bearer(), **({"content-type": kind} if kind else {})}
    assert shared.post(START, content=b'{"input": "x"}', headers=headers).status_code == 415


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON ; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_by_any_spelling(client: TestClient, kind: str) -> None:
    answer = client.post(START, content=b'{"input": "x"}', headers={**bearer(), "content-type": kind})
    assert answer.status_code == 202


def test_an_encoded_body_is_a_415(client: TestClient) -> None:
    headers = {**bearer(), "content-type": "application/json", "content-encoding": "gzip"}
    assert client.post(START, content=b'{"input": "x"}', headers=headers).status_code == 415


@pytest.mark.parametrize(("size", "status"), [(64 * 1024, 202), (64 * 1024 + 1, 413)])
def test_the_size_limit(client: TestClient, size: int, status: int) -> None:
    body = b'{"input": "' + b"x" * (size - 13) + b'"}'
    assert len(body) == size
    answer = client.post(START, content=body, headers={**bearer(), "content-type": "application/json"})
    assert answer.status_code == status
    assert status == 202 or answer.json()["detail"] == "at most 65536 bytes are taken"


# ------------------------------------------------------------------ looking


def test_a_run_with_its_turns_and_calls(client: TestClient, house: House) -> None:
    run = house.asked()
    shown = client.get(f"/v1/runs/{run.id}", headers=bearer("reader")).json()
    call = run.turn.calls[0]
    assert call.approval is not None
    assert shown["status"] == "waiting"
    assert shown["usage"] == {"total": 12}
    assert [t["interaction_id"] for t in shown["turns"]] == [f"int_{run.id}"]
    assert shown["calls"][0]["arguments"] == {"order_id": "A-1042", "amount_cents": 1250}
    assert shown["calls"][0]["approval"] == {
        "id": call.approval.id,
        "status": "pending",
        "expires_at": "2026-11-22T12:00:00Z",
    }
    assert client.get(f"/v1/runs/{run.id}/calls", headers=bearer()).json()["items"] == shown["calls"]
    asked = client.get(f"/v1/runs/{run.id}/approvals", headers=bearer()).json()
    assert [a["id"] for a in asked["items"]] == [call.approval.id]


def test_nothing_of_ours_is_shown(client: TestClient, house: House) -> None:
    """Neither whose key it was, nor the fencing token, nor the version."""
    run = house.doubtful()
    shown = client.get(f"/v1/runs/{run.id}", headers=bearer()).json()
    assert not {"owner", "idempotency_key", "body_hash", "version", "recipe", "seq"} & set(shown)
    assert "claim" not in shown["calls"][0]


def test_half_a_character_of_a_model_is_shown_all_the_same(client: TestClient, house: House) -> None:
    run = house.asked()

    def spoil(s: Any) -> None:
        text = json.dumps({"note": "a\ud800b"})
        s.connection().exec_driver_sql("UPDATE call SET arguments = ?", (text,))

    house.write(spoil)
    answer = client.get(f"/v1/runs/{run.id}", headers=bearer())
    assert (answer.status_code, answer.json()["calls"][0]["arguments"]) == (200, {"note": "a?b"})


def test_what_a_model_nested_without_end_is_cut(client: TestClient, house: House) -> None:
    run = house.asked()

    def spoil(s: Any) -> None:
        text = '{"a":' * 300 + "1" + "}" * 300
        s.connection().exec_driver_sql("UPDATE call SET arguments = ?", (text,))

    house.write(spoil)
    answer = client.get(f"/v1/runs/{run.id}", headers=bearer())
    assert answer.status_code == 200
    assert TOO_DEEP in answer.text


def test_the_record_is_paged(client: TestClient, house: House) -> None:
    run = house.asked()
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = client.get(f"/v1/runs/{run.id}/events?after={after}&limit=2", headers=bearer()).json()
        seen += [e["seq"] for e in page["items"]]
        after = page["next"]
    whole = client.get(f"/v1/runs/{run.id}/events", headers=bearer()).json()
    assert seen == [e["seq"] for e in whole["items"]] == [1, 2, 3]
    assert [e["kind"] for e in whole["items"]] == ["RunRequested", "CreateClaimed", "InteractionObserved"]
    assert whole["next"] is None


def test_lists_are_paged_without_a_gap(client: TestClient, house: House) -> None:
    made = []
    for i in range(7):
        house.clock.now = later(seconds=i // 2)  # some share their instant
        made.append(house.run(f"run {i}"))
    seen: list[str] = []
    query = "?limit=3"
    while query:
        page = client.get(f"/v1/runs{query}", headers=bearer()).json()
        seen += [r["id"] for r in page["items"]]
        query = f"?limit=3&cursor={page['next']}" if page["next"] else ""
    assert sorted(seen) == sorted(made)
    assert len(seen) == 7
    assert seen[0] == made[-1]


def test_runs_are_filtered(client: TestClient, house: House) -> None:
    waiting, queued = house.asked().id, house.run()
    found = [
        [r["id"] for r in client.get(f"/v1/runs?{q}", headers=bearer()).json()["items"]]
        for q in ("status=waiting", "status=queued&workflow=refund", "workflow=support")
    ]
    assert found == [[waiting], [queued], []]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=101", "limit=x", "limit=1.5", "limit=", "status=open", "status=", "workflow=%00"),
        *("cursor=", "cursor=x", "cursor=!!!", "cursor=MTIz", "cursor=%ff", "cursor=" + "A" * 300),
        *("cursor=OTk5OTk5OTk5OTk5OTk5OTkucnVuX2E", "limit=" + "9" * 30),
    ],
)
def test_a_wrong_query_is_a_400(shared: TestClient, query: str) -> None:
    answer = shared.get(f"/v1/runs?{query}", headers=bearer())
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["after=-1", "after=99999999999999999999", "limit=0", "after=x"])
def test_a_wrong_place_in_the_record_is_a_400(client: TestClient, house: House, query: str) -> None:
    assert client.get(f"/v1/runs/{house.run()}/events?{query}", headers=bearer()).status_code == 400


@pytest.mark.parametrize("limit", [1, 100])
def test_the_limits_of_the_limit(client: TestClient, limit: int) -> None:
    assert client.get(f"/v1/runs?limit={limit}", headers=bearer()).status_code == 200


UNKNOWN = ["run_000000000000000000000000", "x", "%00", "%ff", "a" * 300, "run_'; drop table run --", "🦀"]


@pytest.mark.parametrize("run_id", UNKNOWN)
@pytest.mark.parametrize("rest", ["", "/events", "/calls", "/approvals"])
def test_an_unknown_run_is_not_found(shared: TestClient, run_id: str, rest: str) -> None:
    answer = shared.get(f"/v1/runs/{run_id}{rest}", headers=bearer())
    assert answer.status_code == 404
    assert answer.json()["status"] == 404


@pytest.mark.parametrize("run_id", UNKNOWN)
def test_an_unknown_run_cannot_be_changed(shared: TestClient, run_id: str) -> None:
    assert shared.post(f"/v1/runs/{run_id}/cancel", headers=bearer()).status_code == 404
    body = {"choice": "retry"}
    assert shared.post(f"/v1/runs/{run_id}/resolve", json=body, headers=bearer()).status_code == 404


# ------------------------------------------------------------------ stopping


def test_a_run_is_cancelled_once(client: TestClient, house: House) -> None:
    run_id = house.asked().id
    first = client.post(f"/v1/runs/{run_id}/cancel", json={"reason": "wrong customer"}, headers=bearer("ops"))
    again = client.post(f"/v1/runs/{run_id}/cancel", headers=bearer("ops"))
    assert [first.status_code, again.status_code] == [200, 200]
    assert first.json()["status"] == again.json()["status"] == "cancelled"
    assert first.json()["reason"] == "cancelled by ops: wrong customer" == again.json()["reason"]
    approval = house.load(run_id).turn.calls[0].approval
    assert approval is not None
    assert approval.status == "withdrawn"


def test_a_run_that_ended_otherwise_is_a_conflict(client: TestClient, house: House) -> None:
    run = house.doubtful()
    body = {"choice": "give_up"}
    links = client.get(f"/v1/runs/{run.id}", headers=bearer()).json()["links"]
    assert client.post(links["resolve"], json=body, headers=bearer()).status_code == 200
    answer = client.post(f"/v1/runs/{run.id}/cancel", headers=bearer())
    assert (answer.status_code, answer.json()["detail"]) == (409, "the run is already failed")


@pytest.mark.parametrize(("length", "status"), [(1000, 200), (1001, 400)])
def test_a_reason_is_bounded(client: TestClient, house: House, length: int, status: int) -> None:
    answer = client.post(f"/v1/runs/{house.run()}/cancel", json={"reason": "ä" * length}, headers=bearer())
    assert answer.status_code == status


def test_a_cancel_in_a_form_is_refused(client: TestClient, house: House) -> None:
    """A form on another site needs no preflight; without a body there is nothing to sniff either way."""
    run_id = house.run()
    assert client.post(f"/v1/runs/{run_id}/cancel", data={"reason": "x"}, headers=bearer()).status_code == 415
    assert house.load(run_id).status == "queued"


# ------------------------------------------------------------------ settling


def test_a_call_in_doubt_did_happen(client: TestClient, house: House) -> None:
    run = house.doubtful()
    body = {"choice": "happened", "call": run.turn.calls[0].id, "result": {"refund": "r_1"}}
    answer = client.post(f"/v1/runs/{run.id}/resolve", json=body, headers=bearer("ops"))
    assert (answer.status_code, answer.json()["status"]) == (200, "resuming")
    call = client.get(f"/v1/runs/{run.id}/calls", headers=bearer()).json()["items"][0]
    assert (call["outcome"], call["result"]) == ("succeeded", {"refund": "r_1"})


def test_the_only_call_in_doubt_needs_no_name(client: TestClient, house: House) -> None:
    run = house.doubtful()
    answer = client.post(f"/v1/runs/{run.id}/resolve", json={"choice": "retry"}, headers=bearer())
    assert answer.status_code == 200
    assert house.load(run.id).turn.calls[0].status is CallStatus.READY


def test_one_of_several_calls_is_named(client: TestClient, house: House) -> None:
    run = house.doubtful(calls=2)
    answer = client.post(f"/v1/runs/{run.id}/resolve", json={"choice": "retry"}, headers=bearer())
    assert answer.status_code == 409
    assert all(c.id in answer.json()["detail"] for c in run.turn.calls)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"choice": "maybe"}, 400),
        ({}, 400),
        ({"choice": "retry", "result": "x"}, 400),
        ({"choice": "retry", "call": "call_unknown"}, 409),
        ({"choice": "retry", "call": "x" * 65}, 400),
        ({"choice": "happened", "result": ["x"]}, 400),
    ],
)
def test_a_resolution_that_does_not_fit(client: TestClient, house: House, body: Any, status: int) -> None:
    run = house.doubtful()
    answer = client.post(f"/v1/runs/{run.id}/resolve", json=body, headers=bearer())
    assert answer.status_code == status
    assert house.load(run.id).status == "attention"


def test_nothing_in_doubt_is_a_conflict(client: TestClient, house: House) -> None:
    answer = client.post(f"/v1/runs/{house.run()}/resolve", json={"choice": "retry"}, headers=bearer())
    assert answer.status_code == 409


def test_an_approval_of_an_older_question_keeps_its_call(client: TestClient, house: House) -> None:
    run = house.asked()
    approval = run.turn.calls[0].approval
    assert approval is not None
    verdict = Verdict(True, Actor("U0ALICE", "alice", "slack"), NOW)
    house.apply(run.id, ApprovalDecided(approval.id, approval.digest, verdict, "U0ALICE"))
    shown = client.get(f"/v1/runs/{run.id}", headers=bearer()).json()
    assert shown["calls"][0]["approval"]["status"] == "approved"


def test_a_run_in_attention_is_taken_up_by_a_new_one_once(client: TestClient, house: House) -> None:
    run = house.doubtful()
    first = client.post(f"/v1/runs/{run.id}/restart", headers=bearer())
    again = client.post(f"/v1/runs/{run.id}/restart", json={}, headers=bearer())
    assert (first.status_code, again.status_code) == (202, 200)
    new = first.json()
    assert (new["restart_of"], new["workflow"], again.json()["id"]) == (
        run.id,
        run.recipe.workflow,
        new["id"],
    )
    assert first.headers["location"] == f"/v1/runs/{new['id']}"
    assert "not known" in new["input"]
    assert house.load(run.id).status == "failed"


def test_a_run_at_work_is_not_taken_up(client: TestClient, house: House) -> None:
    answer = client.post(f"/v1/runs/{house.run()}/restart", headers=bearer())
    assert answer.status_code == 409
    assert client.post("/v1/runs/run_nobody/restart", headers=bearer()).status_code == 404


def test_how_far_a_turn_is(client: TestClient, house: House) -> None:
    run = house.asked(calls=3)
    approval = run.turn.calls[0].approval
    assert approval is not None
    verdict = Verdict(False, Actor("U0ALICE", "alice", "slack"), NOW)
    house.apply(run.id, ApprovalDecided(approval.id, approval.digest, verdict, "U0ALICE"))
    shown = client.get(f"/v1/runs/{run.id}", headers=bearer()).json()
    assert shown["progress"] == {
        "calls": 3,
        "undecided": 2,
        "settled": 1,
        "jobs": "",
        "left_seconds": None,
    }
    assert (shown["step"], shown["steps"], shown["outputs"]) == (None, [], {})
    assert shown["turns"][0]["forgotten_at"]
