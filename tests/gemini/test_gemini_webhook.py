"""Signed deliveries: who is believed, and what an event may say."""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from dynamic_kit import BODY, DYNAMIC, ID, NOW, SECRET, STAMP, STATIC
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from orchestrator.errors import ConfigError, InvalidError, SignatureError
from orchestrator.gemini.webhook import Delivery, Signal, StaticSecret, StaticVerifier, parse, verify

OTHER = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()


def headers(
    message: bytes = ID, stamp: bytes = STAMP, signature: bytes = STATIC
) -> list[tuple[bytes, bytes]]:
    return [
        (b"host", b"hooks.example.com"),
        (b"webhook-id", message),
        (b"webhook-timestamp", stamp),
        (b"webhook-signature", signature),
    ]


def signed(message: bytes, stamp: bytes, body: bytes, key: bytes = bytes(range(32))) -> bytes:
    """Signed by hand, so that anything at all can be signed."""
    return b"v1," + base64.b64encode(hmac.digest(key, message + b"." + stamp + b"." + body, hashlib.sha256))


def take(
    found: Any = None, body: bytes = BODY, *, secrets: tuple[str, ...] = (SECRET,), now: datetime = NOW
) -> Delivery:
    return verify(headers() if found is None else found, body, secrets=secrets, now=now)


def refused(found: Any = None, body: bytes = BODY, **more: Any) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        take(found, body, **more)
    return caught.value


# ------------------------------------------------------------------ the signature


def test_the_published_vector() -> None:
    assert take() == Delivery(ID.decode(), int(NOW.timestamp()))


def test_a_mapping_in_any_spelling_does_too() -> None:
    given = {
        "Webhook-Id": ID.decode(),
        "WEBHOOK-TIMESTAMP": STAMP.decode(),
        "webhook-signature": STATIC.decode(),
    }
    assert take(given).id == ID.decode()


def test_we_agree_with_the_sender_library() -> None:
    body = '{"type":"x","note":"äöü"}'
    signature = Webhook(SECRET).sign("msg_1", NOW, body)
    assert take(headers(b"msg_1", STAMP, signature.encode()), body.encode()).id == "msg_1"


def test_the_dynamic_scheme_is_not_for_this_address() -> None:
    assert not refused(headers(signature=DYNAMIC)).malformed


@pytest.mark.parametrize(
    "signature",
    [
        STATIC + b" " + DYNAMIC,
        DYNAMIC + b" " + STATIC,
        b"v1 " + STATIC,
        b"v1,a,b " + STATIC,
        b"v1,\xff\xfe " + STATIC,
        b"v1, " + STATIC,
        b"v1,AAAA " + STATIC + b" v2,x",
        signed(ID, STAMP, BODY, b"old") + b" " + STATIC,
    ],
)
def test_one_good_entry_is_enough_whatever_stands_beside_it(signature: bytes) -> None:
    assert take(headers(signature=signature)).id == ID.decode()


@pytest.mark.parametrize(
    "signature",
    [
        b"v1,",
        b"v1",
        b",",
        b"v2," + STATIC[3:],
        b"V1," + STATIC[3:],
        b"v1a," + STATIC[3:],
        STATIC[3:],
        STATIC[:-1],
        STATIC + b"=",
        b"a.b.c",
        signed(ID, STAMP, BODY, SECRET.encode()),  # the secret's text as the key
        signed(ID, STAMP, BODY, SECRET[6:].encode()),
        b"v1," + base64.b64encode(hmac.digest(bytes(range(32)), BODY, hashlib.sha256)),  # the body alone
        b"v1,"
        + hmac.digest(bytes(range(32)), ID + b"." + STAMP + b"." + BODY, hashlib.sha256).hex().encode(),
    ],
)
def test_anything_else_is_not(signature: bytes) -> None:
    assert not refused(headers(signature=signature)).malformed


def test_either_secret_of_a_rotation() -> None:
    assert take(secrets=(OTHER, SECRET))
    assert take(secrets=(SECRET, OTHER))
    assert not refused(secrets=(OTHER,)).malformed
    assert not refused(secrets=()).malformed


def test_the_previous_secret_ends() -> None:
    """Rotation: both verify until the previous one's end, which is the first instant it does not."""
    until = NOW + timedelta(seconds=60)
    both = StaticVerifier([StaticSecret(OTHER), StaticSecret(SECRET, until)])
    new = headers(signature=signed(ID, STAMP, BODY, bytes(range(32, 64))))
    for now in (NOW, until - timedelta(microseconds=1)):
        assert both.verify(headers(), BODY, now=now)
        assert both.verify(new, BODY, now=now)
    for now in (until, until + timedelta(seconds=1)):
        assert both.verify(new, BODY, now=now)
        with pytest.raises(SignatureError) as ended:
            both.verify(headers(), BODY, now=now)
        assert not ended.value.malformed
    assert SECRET not in repr(StaticSecret(SECRET, until))


def test_what_is_kept_of_the_headers() -> None:
    sent = [*headers(), (b"Content-Type", b"application/json"), (b"user-agent", b"\xffG\x00\n" + b"x" * 600)]
    taken = take([*sent, (b"content-type", b"text/plain"), (b"x-secret", b"no")])
    assert taken.scheme == "v1"
    assert taken.headers == {
        "webhook-id": ID.decode(),
        "webhook-timestamp": STAMP.decode(),
        "webhook-signature": STATIC.decode(),
        "content-type": "application/json",
        "user-agent": "?G??" + "x" * 508,
    }


def test_a_body_need_not_be_text_to_be_verified() -> None:
    body = b"\xff\x00\xfe"
    assert take(headers(signature=signed(ID, STAMP, body)), body).id == ID.decode()


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%%", "AAECAwQ=", "whsec_ä", "whsec_A"])
def test_a_secret_of_another_form_does_not_start(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StaticVerifier([secret])
    assert not secret or secret not in str(caught.value).replace("whsec_<base64>", "")


# ------------------------------------------------------------------ headers and clock


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
def test_each_header_exactly_once(name: bytes) -> None:
    complete = headers()
    assert refused([pair for pair in complete if pair[0] != name]).malformed
    assert refused([(n, b"" if n == name else v) for n, v in complete]).malformed
    again = next(pair for pair in complete if pair[0] == name)
    assert refused([*complete, again]).malformed
    assert refused([*complete, (name.upper(), again[1])]).malformed


@pytest.mark.parametrize(
    "message", [b"a.b", b"a b", b"\xc3\xa4", b"a\x00", b"a\x7f", b"a\n", b"x" * 257], ids=repr
)
def test_an_id_is_visible_and_has_no_dot(message: bytes) -> None:
    assert refused(headers(message, STAMP, signed(message, STAMP, BODY))).malformed


def test_the_longest_id() -> None:
    message = b"x" * 256
    assert take(headers(message, STAMP, signed(message, STAMP, BODY))).id == message.decode()


@pytest.mark.parametrize(
    "stamp",
    [
        b"1795255207.0",
        b"+1795255207",
        b"-1",
        b"1_795_255_207",
        b"1.795255207e9",
        b" 1795255207",
        b"1795255207\n",
        "١٧٩٥٢٥٥٢٠٧".encode(),
        b"0x6b0171e7",
        b"nan",
        b"1" * 13,
        b"2026-11-21T10:00:07Z",
        b"1795255207000",
    ],
    ids=repr,
)
def test_a_timestamp_is_digits(stamp: bytes) -> None:
    assert refused(headers(ID, stamp, signed(ID, stamp, BODY))).malformed


@pytest.mark.parametrize(("seconds", "good"), [(299, True), (300, True), (301, False)])
def test_five_minutes_either_way(seconds: int, good: bool) -> None:
    for now in (NOW + timedelta(seconds=seconds), NOW - timedelta(seconds=seconds)):
        if good:
            assert take(now=now).sent_at == NOW
        else:
            assert refused(now=now).malformed


def test_the_tolerance_is_a_setting() -> None:
    late = NOW + timedelta(seconds=11)
    assert verify(headers(), BODY, secrets=[SECRET], now=late, tolerance_seconds=11)
    with pytest.raises(SignatureError):
        verify(headers(), BODY, secrets=[SECRET], now=late, tolerance_seconds=10)


def test_an_encoded_body_is_not_taken() -> None:
    assert take([*headers(), (b"content-encoding", b" Identity")])
    assert refused([*headers(), (b"content-encoding", b"gzip")]).malformed


def test_a_huge_signature_header_is_not_read() -> None:
    assert refused(headers(signature=b" ".join([STATIC] * 100))).malformed
    assert refused(headers(signature=b"\xff" * 4097)).malformed


def test_errors_quote_nothing_foreign() -> None:
    canary = b"canary-7f3a"
    told = [
        refused(headers(canary + b".", STAMP, STATIC)),
        refused(headers(ID, canary, STATIC)),
        refused(headers(ID, STAMP, b"v1," + canary)),
    ]
    assert all("canary" not in str(error) for error in told)


# ------------------------------------------------------------------ noise


_NAMES = st.sampled_from(
    [b"webhook-id", b"Webhook-Timestamp", b"webhook-signature", b"content-encoding", b"x"]
)


@settings(max_examples=200)
@given(st.lists(st.tuples(_NAMES | st.binary(max_size=8), st.binary(max_size=60)), max_size=6), st.binary())
def test_any_headers_and_bytes_give_one_kind_of_error(found: list[tuple[bytes, bytes]], body: bytes) -> None:
    with pytest.raises(SignatureError):
        take(found, body)


@settings(max_examples=200)
@given(st.dictionaries(st.text(max_size=5) | _NAMES.map(bytes.decode), st.text(max_size=20), max_size=5))
def test_any_mapping_of_headers_gives_one_kind_of_error(found: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        take(found)


# ------------------------------------------------------------------ the body


def test_an_event_of_ours() -> None:
    assert parse(BODY) == Signal("interaction.requires_action", "v1_run1")


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        ({"type": "interaction.dreamt", "data": {"id": "v1_a", "new": [1]}, "more": None}, "v1_a"),
        ({"type": "ping"}, None),
        ({"type": "ping", "data": None}, None),
        ({"type": "ping", "data": "text"}, None),
        ({"type": "batch.succeeded", "data": {"id": "batches/b1"}}, "b1"),
        ({"type": "batch.succeeded", "data": {"id": "batch_123456"}}, "batch_123456"),
        ({"type": "x", "data": {"id": "../v1_a"}}, None),
        ({"type": "x", "data": {"id": "v1_a?x=1"}}, None),
        ({"type": "x", "data": {"id": ".."}}, None),
        ({"type": "x", "data": {"id": 7}}, None),
        ({"type": "x", "data": {"id": ["v1_a"]}}, None),
        ({"type": "x", "version": 1, "timestamp": {}, "data": {"user_metadata": "no"}}, None),
    ],
)
def test_unknown_events_and_odd_fields_are_fine(event: dict[str, Any], subject: str | None) -> None:
    assert parse(json.dumps(event).encode()) == Signal(event["type"], subject)


def nested(depth: int) -> bytes:
    """An object `depth` deep, itself included."""
    return b'{"type":"x","a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "body",
    [
        nested(64),
        b'{"type":"x","a":' + b"[" * 63 + b"1" + b"]" * 63 + b"}",
        b'{"type":"x","a":' + b"1" * 40 + b"}",
        b'{"type":"x","a":1e308}',
        b'{"type":"x","a":"\\ud83d\\ude00"}',
        b'{"type":"x","a":{"b":1},"c":{"b":1}}',
        b' {"type":"x"} \n',
    ],
)
def test_up_to_the_limits(body: bytes) -> None:
    assert parse(body).type == "x"


@pytest.mark.parametrize(
    ("event", "told"),
    [({}, ""), ({"type": None}, ""), ({"type": ["x"]}, ""), ({"type": "x" * 129}, "x" * 128)],
)
def test_an_event_of_no_known_type_is_one_all_the_same(event: Any, told: str) -> None:
    assert parse(json.dumps({**event, "data": {"id": "v1_a"}}).encode()) == Signal(told, "v1_a")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b'{"type":"x"',
        b'{"type":"x"}{}',
        b'{"type":"x","type":"y"}',
        b'{"type":"x","data":{"id":"a","id":"b"}}',
        b'{"type":"x","data":{"id":"a","\\u0069d":"b"}}',
        b'{"type":"x","a":NaN}',
        b'{"type":"x","a":-Infinity}',
        b'{"type":"x","a":1e999}',
        b'{"type":"x","a":' + b"1" * 41 + b"}",
        b'{"type":"x","a":0.' + b"1" * 41 + b"}",
        b'{"type":"x","a":' + b"9" * 100_000 + b"}",
        b'{"type":"x","a":"\\ud800"}',
        b'{"type":"x","\\udfff":1}',
        b'{"type":"x","a":"\xff"}',
        b'{"type":"x","a":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"type":"x"}',
        '{"type":"x"}'.encode("utf-16"),
        b"{'type':'x'}",
        b'{"type":"x",}',
        b'{"type":"x"} // no',
        nested(65),
        nested(2000),
        b"[" * 500_000,
        b'{"a":' * 200_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_not_strict_json_about_an_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidError):
        parse(body)


_EVENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "data", "id", "user_metadata", "run", "x"]), inner, max_size=5
        )
    ),
    max_leaves=25,
)


@settings(max_examples=250)
@given(st.binary(max_size=300) | _EVENT.map(lambda event: json.dumps(event).encode()))
def test_any_bytes_are_a_signal_or_one_kind_of_error(body: bytes) -> None:
    try:
        signal = parse(body)
    except InvalidError:
        return
    assert len(signal.type) <= 128
