"""Gemini's webhooks: verified, stored, answered, in that order; never 5xx for what a stranger sends."""

import base64
import json
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from litestar.testing import TestClient
from web_kit import KEY, NOW, WEBHOOK_SECRET, House, build, event_body, later, signed

from orchestrator.gemini.webhook import StaticVerifier
from orchestrator.store.inbox import delivery_t

HOOK = "/webhooks/gemini"


def kept(house: House) -> list[dict[str, Any]]:
    def job(s: Any) -> list[dict[str, Any]]:
        return [dict(r) for r in s.connection().execute(sa.select(delivery_t)).mappings()]

    return house.write(job)  # type: ignore[no-any-return]


def test_a_good_delivery_is_kept_as_it_came(client: TestClient, house: House) -> None:
    body = event_body("v1_abc", "interaction.requires_action")
    answer = client.post(HOOK, content=body, headers=signed(body))
    assert (answer.status_code, answer.content) == (200, b"{}")
    (row,) = kept(house)
    assert (row["id"], row["kind"], row["subject"]) == ("msg_1", "interaction.requires_action", "v1_abc")
    assert (row["body"], row["state"], row["timestamp"]) == (body, "new", int(NOW.timestamp()))
    assert house.woken


def test_a_repeated_delivery_is_kept_once(client: TestClient, house: House) -> None:
    body = event_body()
    codes = [client.post(HOOK, content=body, headers=signed(body)).status_code for _ in range(3)]
    other = event_body("v1_other")
    codes.append(client.post(HOOK, content=other, headers=signed(other)).status_code)  # same id, other body
    (row,) = kept(house)
    assert (codes, row["duplicates"], row["body"]) == ([200] * 4, 3, body)


def test_it_is_kept_before_it_is_answered(house: House) -> None:
    """The 2xx must not leave before the commit: a storage that fails is a 503, and nothing else."""

    class Failing:
        async def deliver(self, **_: Any) -> bool:
            raise OSError("disk full: canary")

    body = event_body()
    with (
        TestClient(house.app(intake=Failing()), raise_server_exceptions=False) as client,
        structlog.testing.capture_logs() as logs,
    ):
        answer = client.post(HOOK, content=body, headers=signed(body))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "canary" not in answer.text + str(logs)
    assert [(e["event"], e["route"]) for e in logs] == [("request_failed", HOOK)]


def test_unknown_events_are_kept(client: TestClient, house: House) -> None:
    for i, kind in enumerate(("batch.completed", "video.generated", "something.new", "a\u0000b\u202e")):
        body = event_body("batches/b-1", kind)
        answer = client.post(HOOK, content=body, headers=signed(body, webhook_id=f"msg_{i}"))
        assert answer.status_code == 200
    assert [r["kind"] for r in kept(house)][-1] == "a?b?"


def test_an_event_without_a_known_subject_is_kept(client: TestClient, house: House) -> None:
    body = event_body("../../etc/passwd")
    assert client.post(HOOK, content=body, headers=signed(body)).status_code == 200
    assert kept(house)[0]["subject"] == ""


GOOD = event_body()


def headers(**changes: str | None) -> dict[str, str]:
    named = {k.replace("_", "-"): v for k, v in changes.items()}
    return {k: v for k, v in {**signed(GOOD), **named}.items() if v is not None}


REFUSED = {
    "no id": (headers(webhook_id=None), 400),
    "no timestamp": (headers(webhook_timestamp=None), 400),
    "no signature": (headers(webhook_signature=None), 400),
    "empty id": (headers(webhook_id=""), 400),
    "id with a dot": (headers(webhook_id="msg.1"), 400),
    "id too long": (headers(webhook_id="m" * 257), 400),
    "timestamp as a float": (headers(webhook_timestamp="1795262400.0"), 400),
    "timestamp with a sign": (headers(webhook_timestamp="+1795262400"), 400),
    "timestamp with an underscore": (headers(webhook_timestamp="1_795262400"), 400),
    "timestamp as a power": (headers(webhook_timestamp="1e9"), 400),
    "301 s old": (signed(GOOD, at=later(seconds=-301)), 400),
    "301 s ahead": (signed(GOOD, at=later(seconds=301)), 400),
    "another key": (signed(GOOD, key=b"x" * 32), 401),
    "the key undecoded": (signed(GOOD, key=WEBHOOK_SECRET.encode()), 401),
    "another id": (headers(webhook_id="msg_2"), 401),
    "another time": (headers(webhook_timestamp=str(int(later(seconds=1).timestamp()))), 401),
    "no label": (signed(GOOD, entry=base64.b64encode(KEY).decode()), 401),
    "no comma": (signed(GOOD, entry="v1"), 401),
    "not base64": (signed(GOOD, entry="v1,%%%%"), 401),
    "asymmetric label": (signed(GOOD, entry="v1a," + "A" * 86 + "=="), 401),
    "a token": (signed(GOOD, entry="eyJhbGciOiJub25lIn0.e30."), 401),
    "huge": (signed(GOOD, entry="v1," + "A" * 5000), 400),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_from_gemini_for_us_now(shared: TestClient, sent: dict[str, str], status: int) -> None:
    answer = shared.post(HOOK, content=GOOD, headers=sent)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("seconds", [-300, 300])
def test_five_minutes_either_way(shared: TestClient, seconds: int) -> None:
    sent = signed(GOOD, webhook_id=f"edge_{seconds + 300}", at=later(seconds=seconds))
    assert shared.post(HOOK, content=GOOD, headers=sent).status_code == 200


def test_one_good_entry_among_others_is_enough(shared: TestClient) -> None:
    good = signed(GOOD, webhook_id="list")["webhook-signature"]
    entry = f"v1 v1,%% v1a,AAAA {good} v2,AAAA"
    answer = shared.post(HOOK, content=GOOD, headers=signed(GOOD, webhook_id="list", entry=entry))
    assert answer.status_code == 200


def test_either_secret_during_a_rotation(house: House) -> None:
    other = b"y" * 32
    both = StaticVerifier([WEBHOOK_SECRET, "whsec_" + base64.b64encode(other).decode()])
    with TestClient(house.app(webhook=both)) as client:
        codes = [
            client.post(HOOK, content=GOOD, headers=signed(GOOD, webhook_id=f"r{i}", key=k)).status_code
            for i, k in enumerate((KEY, other, b"z" * 32))
        ]
    assert codes == [200, 200, 401]


def test_without_a_secret_nothing_is_believed(house: House) -> None:
    with TestClient(house.app(webhook=StaticVerifier([]))) as client:
        assert client.post(HOOK, content=GOOD, headers=signed(GOOD)).status_code == 401


@pytest.mark.parametrize(
    ("encoding", "status"), [("gzip", 415), ("br", 415), ("identity, gzip", 415), ("identity", 200)]
)
def test_nobody_should_have_to_unpack(shared: TestClient, encoding: str, status: int) -> None:
    sent = {**signed(GOOD, webhook_id=f"enc{len(encoding)}"), "content-encoding": encoding}
    assert shared.post(HOOK, content=GOOD, headers=sent).status_code == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_only_a_post_is_taken(shared: TestClient, method: str) -> None:
    answer = shared.request(method, HOOK)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(("size", "status"), [(64 * 1024 - 1, 200), (64 * 1024, 200), (64 * 1024 + 1, 413)])
def test_the_size_limit(shared: TestClient, size: int, status: int) -> None:
    body = event_body(padding="")
    body = event_body(padding="x" * (size - len(body)))
    assert len(body) == size
    sent = signed(body, webhook_id=f"size{size}")
    assert shared.post(HOOK, content=body, headers=sent).status_code == status
    pieces = (body[i : i + 1000] for i in range(0, size, 1000))  # no length announced
    assert shared.post(HOOK, content=pieces, headers=sent).status_code == status


BAD_EVENTS = {
    "empty": b"",
    "not json": b"<xml/>",
    "half": GOOD[:-1],
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "twice": b'{"type": "a", "type": "b"}',
    "nan": b'{"type": "a", "x": NaN}',
    "huge number": b'{"type": "a", "x": ' + b"9" * 5000 + b"}",
    "huge float": b'{"type": "a", "x": 1e999}',
    "broken utf-8": b'{"type": "\xff\xfe"}',
    "half pair": b'{"type": "a", "x": "\\ud800"}',
    "utf-16": '{"type": "a"}'.encode("utf-16"),
    "deep": b'{"type": "a", "x": ' + b"[" * 100 + b"]" * 100 + b"}",
    "very deep": b'{"type":' + b"[" * 30_000,
    "nul bytes": b"\x00" * 100,
}


@pytest.mark.parametrize("body", BAD_EVENTS.values(), ids=BAD_EVENTS)
def test_a_signed_body_that_is_no_event(shared: TestClient, body: bytes) -> None:
    assert shared.post(HOOK, content=body, headers=signed(body)).status_code == 400


@pytest.mark.parametrize(
    "data", [None, 5, "x", [], {}, {"id": None}, {"id": 5}, {"id": []}, {"id": "a" * 600}, {"id": "é"}]
)
def test_odd_data_is_kept_all_the_same(shared: TestClient, data: Any) -> None:
    body = event_body(data=data)
    sent = signed(body, webhook_id=f"odd{len(repr(data))}")
    assert shared.post(HOOK, content=body, headers=sent).status_code == 200


@pytest.mark.parametrize(
    "event", [{}, {"type": 5}, {"type": ""}, {"type": "x" * 129}, {"id": "v1_a"}], ids=repr
)
def test_an_event_of_no_known_type_is_taken(shared: TestClient, event: Any) -> None:
    """What a ping holds is not documented, and what is refused counts towards switching us off."""
    body = json.dumps(event).encode()
    sent = signed(body, webhook_id=f"untyped{len(body)}")
    assert shared.post(HOOK, content=body, headers=sent).status_code == 200


# ------------------------------------------------------------------ mutations


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Any:
    built = build(tmp_path_factory.mktemp("mutations"))
    with TestClient(built.app(), raise_server_exceptions=False) as client:
        yield built, client
    built.database.close()


_visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
_bytes = st.binary(max_size=200)


@given(
    body=_bytes,
    name=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
    value=_visible,
)
@example(body=GOOD, name="webhook-signature", value="v1,")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_mutation_is_accepted_or_breaks_us(
    front: tuple[House, TestClient], body: bytes, name: str, value: str
) -> None:
    """A good delivery with one header changed to anything and a body of anything."""
    _, client = front
    sent = signed(GOOD, webhook_id="never")
    if (sent[name], GOOD) == (value, body):
        return
    answer = client.post(HOOK, content=body, headers={**sent, name: value})
    assert answer.status_code in (400, 401)


@given(body=st.one_of(_bytes, st.text(max_size=100).map(str.encode)))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_signed_never_breaks_us(front: tuple[House, TestClient], body: bytes) -> None:
    _, client = front
    assert client.post(HOOK, content=body, headers=signed(body)).status_code in (200, 400)


@given(at=st.integers(0, len(GOOD) * 8 - 1))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_flipped_bit_is_too_many(front: tuple[House, TestClient], at: int) -> None:
    house, client = front
    body = bytearray(GOOD)
    body[at // 8] ^= 1 << at % 8
    assert client.post(HOOK, content=bytes(body), headers=signed(GOOD, webhook_id="flip")).status_code == 401
    assert not [r for r in kept(house) if r["id"] == "flip"]
