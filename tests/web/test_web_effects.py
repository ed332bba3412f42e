"""Effects that people look after, over HTTP."""

import asyncio
from typing import Any

import pytest
import structlog
from litestar.testing import TestClient
from web_kit import NOW, House, bearer, later

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.store import outbox
from orchestrator.store.outbox import effect_t

UPDATE, FETCH = EffectKind.UPDATE_APPROVAL, EffectKind.FETCH_INTERACTION


def put(house: House, kind: EffectKind, subject: str, run_id: str, due: Any = NOW, **columns: Any) -> str:
    """An effect, brought to where a test wants it; returns its id as the API names it."""

    def job(s: Any) -> int:
        outbox.add(s, run_id, [Effect(kind, subject, due)])
        mine = (effect_t.c.run_id == run_id) & (effect_t.c.key == f"{kind}:{subject}")
        if columns:
            s.connection().execute(effect_t.update().where(mine).values(columns))
        return int(s.connection().execute(effect_t.select().where(mine)).mappings().one()["id"])

    return f"eff_{house.write(job)}"


def dead(house: House, subject: str = "apr_1", **columns: Any) -> tuple[str, str]:
    run_id = house.run()
    given = {"state": "dead", "attempts": 20, "error": "no answer from Slack", **columns}
    return run_id, put(house, UPDATE, subject, run_id, **given)


def events(client: TestClient, run_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/runs/{run_id}/events", headers=bearer()).json()["items"]
    return found


# ------------------------------------------------------------------ listing


def test_the_dead_are_shown_with_all_that_matters(client: TestClient, house: House) -> None:
    run_id, effect = dead(house, claim="secret-claim")
    answer = client.get("/v1/effects", headers=bearer("reader"))
    assert answer.status_code == 200
    assert answer.json() == {
        "items": [
            {
                "id": effect,
                "run": run_id,
                "kind": "update_approval",
                "subject": "apr_1",
                "state": "dead",
                "due_at": "2026-11-21T12:00:00Z",
                "attempts": 20,
                "lease_until": None,
                "error": "no answer from Slack",
                "links": {
                    "retry": f"/v1/effects/{effect}/retry",
                    "drop": f"/v1/effects/{effect}/drop",
                    "run": f"/v1/runs/{run_id}",
                },
            }
        ],
        "next": None,
    }
    assert "secret-claim" not in answer.text


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("state", ["dead", "pending", "claimed"])
def test_page_by_page(client: TestClient, house: House, state: str, limit: int) -> None:
    made = [put(house, UPDATE, f"apr_{n}", "run_x", later(seconds=n % 2), state=state) for n in range(5)]
    expected = [made[n] for n in (0, 2, 4, 1, 3)] if state == "pending" else made[::-1]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"state": state, "limit": limit, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/effects", params=query, headers=bearer()).json()
        assert len(page["items"]) <= limit
        found += [e["id"] for e in page["items"]]
        cursor = page["next"]
    assert found == expected


def test_of_one_run_and_of_none(client: TestClient, house: House) -> None:
    dead(house)
    run_id, mine = dead(house)
    stray = put(house, FETCH, "int_unknown", "", state="dead")
    answer = client.get("/v1/effects", params={"run": run_id}, headers=bearer()).json()
    assert [e["id"] for e in answer["items"]] == [mine]
    [first, *_] = client.get("/v1/effects", headers=bearer()).json()["items"]
    assert (first["id"], first["run"], set(first["links"])) == (stray, None, {"retry", "drop"})


@pytest.mark.parametrize(
    "query",
    [
        {"state": "done"},
        {"state": "DEAD"},
        {"run": "run_x' OR 1=1"},
        {"run": ""},
        {"limit": "0"},
        {"limit": "101"},
        {"cursor": "nonsense"},
    ],
)
def test_what_does_not_fit_is_refused(client: TestClient, query: dict[str, str]) -> None:
    answer = client.get("/v1/effects", params=query, headers=bearer())
    assert answer.status_code in (400, 404), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


# ------------------------------------------------------------------ trying again


def test_a_dead_one_is_tried_again_and_the_record_says_by_whom(house: House) -> None:
    woken: list[int] = []
    run_id, effect = dead(house)
    house.clock.now = later(seconds=90)
    with (
        TestClient(house.app(wake=lambda: woken.append(1))) as client,
        structlog.testing.capture_logs() as logs,
    ):
        answer = client.post(
            f"/v1/effects/{effect}/retry", json={"reason": "Slack is back"}, headers=bearer("ops")
        )
        assert answer.status_code == 200
        told = answer.json()
        assert (told["state"], told["due_at"], told["attempts"]) == ("pending", "2026-11-21T12:01:30Z", 1)
        entry = events(client, run_id)[-1]
    assert (entry["kind"], entry["note"]) == ("EffectRetried", "update_approval of apr_1, by ops")
    assert entry["data"]["by"] == {"id": "api:ops", "name": "ops", "door": "api"}
    assert entry["data"]["reason"] == "Slack is back"
    assert woken == [1]
    [line] = [e for e in logs if e["event"] == "effect_retried"]
    assert (line["effect"], line["run_id"], line["by"]) == (effect, run_id, "api:ops")


def test_without_a_body(client: TestClient, house: House) -> None:
    _, effect = dead(house)
    assert client.post(f"/v1/effects/{effect}/retry", headers=bearer("ops")).status_code == 200


def test_one_that_waits_is_hurried_and_a_timer_is_not(client: TestClient, house: House) -> None:
    run_id = house.run()
    fetch = put(house, FETCH, "i1", run_id, later(seconds=30))
    timer = put(house, EffectKind.END_CREATE_GRACE, "1.1", run_id, later(seconds=30))
    hurried = client.post(f"/v1/effects/{fetch}/retry", headers=bearer())
    assert (hurried.status_code, hurried.json()["due_at"]) == (200, "2026-11-21T12:00:00Z")
    refused = client.post(f"/v1/effects/{timer}/retry", headers=bearer())
    assert (refused.status_code, refused.json()["detail"]) == (409, "a timer keeps its time")


@pytest.mark.parametrize("action", ["retry", "drop"])
@pytest.mark.parametrize("state", ["claimed", "done", "dropped"])
def test_what_does_not_rest_is_a_conflict(client: TestClient, house: House, state: str, action: str) -> None:
    run_id, effect = dead(house, state=state)
    answer = client.post(f"/v1/effects/{effect}/{action}", headers=bearer())
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert len(events(client, run_id)) == 1


@pytest.mark.parametrize("action", ["retry", "drop"])
@pytest.mark.parametrize(
    "effect",
    ["eff_999999", "eff_0", "eff_01", "eff_-1", "eff_" + "9" * 30, "12", "eff_1%00", "run_1", "eff_١"],
)
def test_unknown_and_impossible_ids_answer_alike(client: TestClient, effect: str, action: str) -> None:
    answer = client.post(f"/v1/effects/{effect}/{action}", headers=bearer())
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no effect of that id")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"reason": "x", "force": true}', "application/json", 400),
        (b'{"reason": 7}', "application/json", 400),
        (b'{"reason": "a", "reason": "b"}', "application/json", 400),
        (b'{"reason": "' + b"x" * 1001 + b'"}', "application/json", 400),
        (b"reason=x", "application/x-www-form-urlencoded", 415),
    ],
)
def test_bodies_that_do_not_fit_change_nothing(
    client: TestClient, house: House, content: bytes, kind: str, status: int
) -> None:
    run_id, effect = dead(house)
    for action in ("retry", "drop"):
        headers = {"content-type": kind, **bearer()}
        answer = client.post(f"/v1/effects/{effect}/{action}", content=content, headers=headers)
        assert answer.status_code == status
    assert len(events(client, run_id)) == 1


# ------------------------------------------------------------------ giving up


def test_tidying_up_is_dropped_and_the_record_says_by_whom(client: TestClient, house: House) -> None:
    run_id, effect = dead(house)
    answer = client.post(f"/v1/effects/{effect}/drop", json={"reason": "deleted"}, headers=bearer("ops"))
    assert (answer.status_code, answer.json()["state"]) == (200, "dropped")
    assert client.get("/v1/effects", headers=bearer()).json()["items"] == []
    entry = events(client, run_id)[-1]
    assert (entry["kind"], entry["data"]["by"]["id"]) == ("EffectDropped", "api:ops")
    assert client.get(f"/v1/runs/{run_id}", headers=bearer()).json()["status"] == "queued"


@pytest.mark.parametrize(
    "kind",
    sorted(
        set(EffectKind)
        - {EffectKind.CANCEL_INTERACTION, EffectKind.UPDATE_APPROVAL, EffectKind.NOTIFY_APPROVAL}
        - {EffectKind.SPREAD_APPROVAL, EffectKind.COPY_APPROVAL, EffectKind.UPDATE_BATCH}
        - {EffectKind.UPDATE_DIGEST, EffectKind.CANCEL_JOB, EffectKind.SEND_CALLBACK}
        - {EffectKind.UPLOAD_MEDIA}
        - {EffectKind.POST_INQUIRY, EffectKind.UPDATE_INQUIRY}
    ),
)
def test_what_a_run_waits_for_is_not_dropped(client: TestClient, house: House, kind: EffectKind) -> None:
    run_id = house.run()
    effect = put(house, kind, "s1", run_id)
    answer = client.post(f"/v1/effects/{effect}/drop", headers=bearer())
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        f"run {run_id} would wait for this {kind} for ever: retry it, or cancel the run"
    )
    assert len(events(client, run_id)) == 1


def test_many_who_drop_at_once_are_one(house: House) -> None:
    run_id, effect = dead(house)
    with TestClient(house.app()) as client:

        async def race() -> list[int]:
            def press() -> int:
                return client.post(f"/v1/effects/{effect}/drop", headers=bearer()).status_code

            return await asyncio.gather(*(asyncio.to_thread(press) for _ in range(8)))

        assert sorted(asyncio.run(race())) == [200] + [409] * 7
        assert [e["kind"] for e in events(client, run_id)] == ["RunRequested", "EffectDropped"]
