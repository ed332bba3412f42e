"""What is believed of Slack's requests, and what is read in them."""

import copy
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from support.slack_cards import DIGEST, ID, NOW, card

from orchestrator.errors import InvalidError, SignatureError
from orchestrator.slack.action import Click, OtherAction, Shortcut, Submission
from orchestrator.slack.blocks import draw
from orchestrator.slack.inputs import typed
from orchestrator.slack.interactivity import parse
from orchestrator.slack.signature import verify

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
STAMP = str(int(NOW.timestamp()))
BODY = b"payload=%7B%7D"
VALUE = f"{ID}|1|{DIGEST[:16]}"


def sign(body: bytes = BODY, *, secret: str = SECRET, stamp: str = STAMP) -> str:
    base = b"v0:" + stamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


def headers(**changes: str) -> list[tuple[str, str]]:
    named = {"stamp": STAMP, "signature": sign(), **changes}
    return [("X-Slack-Request-Timestamp", named["stamp"]), ("X-Slack-Signature", named["signature"])]


# --- signatures -------------------------------------------------------------------------------------


def test_slacks_own_published_example_is_believed() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
        b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
        b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    given_headers = {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    at = datetime.fromtimestamp(1531420618, UTC)
    verify(given_headers, body, secrets=[SECRET], now=at)


def test_what_the_sdk_signs_is_believed() -> None:
    signed = SignatureVerifier(SECRET).generate_signature(timestamp=STAMP, body=BODY)
    assert signed is not None
    verify(headers(signature=signed), BODY, secrets=[SECRET], now=NOW)


@pytest.mark.parametrize("secrets", [["new", SECRET], [SECRET, "old"], ["", " ", SECRET], SECRET])
def test_any_secret_in_use_will_do(secrets: list[str]) -> None:
    verify(headers(), BODY, secrets=secrets, now=NOW)


@pytest.mark.parametrize(
    "given_headers",
    [
        dict(headers()),
        {k.lower(): v for k, v in headers()},
        [(k.upper(), v) for k, v in headers()],
        [(k.encode(), v.encode()) for k, v in headers()],
        iter(headers()),
        [*headers(), ("Host", "x"), ("Host", "y")],
    ],
)
def test_headers_may_come_in_any_holder_and_spelling(given_headers: Any) -> None:
    verify(given_headers, BODY, secrets=[SECRET], now=NOW)


def test_bytes_that_are_no_text_are_verified_like_any_others() -> None:
    body = b"payload=\xff\xfe"
    verify(headers(signature=sign(body)), body, secrets=[SECRET], now=NOW)
    with pytest.raises(InvalidError):
        parse(body)


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_five_minutes_either_way_are_believed(seconds: int) -> None:
    verify(headers(), BODY, secrets=[SECRET], now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-3600, -301, -300.001, 300.001, 301, 86_400])
def test_nothing_beyond_five_minutes_is(seconds: float) -> None:
    with pytest.raises(SignatureError) as e:
        verify(headers(), BODY, secrets=[SECRET], now=NOW + timedelta(seconds=seconds))
    assert not e.value.malformed


FORGED = {
    "wrong secret": headers(signature=sign(secret="other")),
    "other body": headers(signature=sign(BODY + b"x")),
    "other time signed": headers(signature=sign(stamp=str(int(STAMP) - 1))),
    "zeros": headers(signature="v0=" + "0" * 64),
    "bare secret": headers(signature="v0=" + hashlib.sha256(SECRET.encode()).hexdigest()),
    "empty secret": headers(signature=sign(secret="")),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_signatures_are_refused(name: str) -> None:
    with pytest.raises(SignatureError) as e:
        verify(FORGED[name], BODY, secrets=[SECRET, ""], now=NOW)
    assert not e.value.malformed


MALFORMED: dict[str, list[tuple[Any, Any]]] = {
    "no headers": [],
    "no timestamp": headers()[1:],
    "no signature": headers()[:1],
    "timestamp twice": [*headers(), headers()[0]],
    "signature twice": [*headers(), headers()[1]],
    "garbled timestamp": headers(stamp="soon"),
    "empty timestamp": headers(stamp=""),
    "signed timestamp": headers(stamp="+" + STAMP),
    "negative timestamp": headers(stamp="-1"),
    "float timestamp": headers(stamp=STAMP + ".0"),
    "exponent": headers(stamp="1e9"),
    "underscores": headers(stamp="1_795_000_000"),
    "padded timestamp": headers(stamp=f" {STAMP}"),
    "timestamp with a line break": headers(stamp=STAMP + "\n"),
    "other script's digits": headers(stamp="".join(chr(0x660 + int(d)) for d in STAMP)),
    "endless timestamp": headers(stamp="9" * 5_000),
    "non-ASCII signature": headers(signature="v0=" + "é" * 64),
    "upper case": headers(signature=sign().upper()),
    "other version": headers(signature=sign().replace("v0", "v1")),
    "no version": headers(signature=sign()[3:]),
    "short": headers(signature=sign()[:-1]),
    "two in one": headers(signature=f"{sign()},{sign()}"),
    "empty signature": headers(signature=""),
    "bytes that are no text": [(b"X-Slack-Signature", b"\xff"), (b"X-Slack-Request-Timestamp", b"\xff")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_headers_are_refused_as_such(name: str) -> None:
    with pytest.raises(SignatureError) as e:
        verify(MALFORMED[name], BODY, secrets=[SECRET], now=NOW)
    assert e.value.malformed


def test_without_a_secret_nothing_is_believed() -> None:
    for secrets in ([], [""], ["  "], ""):
        with pytest.raises(SignatureError):
            verify(headers(signature=sign(secret="")), BODY, secrets=secrets, now=NOW)


def test_every_single_changed_byte_is_noticed() -> None:
    body = form(payload())
    good = headers(signature=sign(body))
    verify(good, body, secrets=[SECRET], now=NOW)
    for index in range(len(body)):
        changed = bytes([*body[:index], body[index] ^ 1, *body[index + 1 :]])
        with pytest.raises(SignatureError):
            verify(good, changed, secrets=[SECRET], now=NOW)


@settings(max_examples=250)
@given(st.text(max_size=80), st.text(max_size=80), st.binary(max_size=60))
def test_no_header_and_no_body_does_more_than_refuse(stamp: str, signature: str, body: bytes) -> None:
    for pair in ((stamp, signature), (STAMP, signature), (stamp, sign(body))):
        with pytest.raises(SignatureError):
            verify(headers(stamp=pair[0], signature=pair[1]), body, secrets=["another"], now=NOW)


# --- clicks ------------------------------------------------------------------------------------------


def button(**changes: Any) -> dict[str, Any]:
    return {
        "type": "button",
        "action_id": "approve",
        "block_id": "decide:1:pending",
        "value": VALUE,
        "text": {"type": "plain_text", "text": "Approve"},
        "action_ts": "1795290042.118200",
        **changes,
    }


def payload(**changes: Any) -> dict[str, Any]:
    """A press on Approve, as Slack sends it."""
    return {
        "type": "block_actions",
        "api_app_id": "A0APPROVE1",
        "trigger_id": "7391.8210.5f0c",
        "team": {"id": "T0ACME", "domain": "acme"},
        "enterprise": None,
        "is_enterprise_install": False,
        "user": {"id": "U0ALICE", "username": "alice", "name": "alice", "team_id": "T0ACME"},
        "container": {"type": "message", "message_ts": "1795290000.000100", "channel_id": "C0APPR"},
        "channel": {"id": "C0APPR", "name": "approvals"},
        "message": {"type": "message", "app_id": "A0APPROVE1", "ts": "1795290000.000100", "blocks": []},
        "state": {"values": {}},
        "response_url": "https://hooks.slack.com/actions/T0ACME/1/x",
        "actions": [button()],
        **changes,
    }


def form(value: Any) -> bytes:
    return urlencode({"payload": json.dumps(value)}).encode()


def read(**changes: Any) -> Click | OtherAction:
    return parse(form(payload(**changes)))


def test_a_press_on_approve() -> None:
    assert read() == Click(
        kind="approve",
        approval=ID,
        revision=1,
        digest_prefix=DIGEST[:16],
        user_id="U0ALICE",
        user_name="alice",
        team_id="T0ACME",
        user_team_id="T0ACME",
        app_id="A0APPROVE1",
        channel="C0APPR",
        ts="1795290000.000100",
        response_url="https://hooks.slack.com/actions/T0ACME/1/x",
        trigger_id="7391.8210.5f0c",
        is_bot=False,
        message_app_id="A0APPROVE1",
    )


def test_the_buttons_we_draw_are_the_buttons_we_read() -> None:
    message = draw(card(), now=NOW)
    drawn = next(b for b in message.blocks if b["type"] == "actions")["elements"]
    kinds = []
    for element in drawn:
        click = read(actions=[element])
        assert isinstance(click, Click)
        assert (click.approval, click.revision, click.digest_prefix) == (ID, 1, DIGEST[:16])
        kinds.append(click.kind)
    assert kinds == ["approve", "reject_reason", "details"]
    shortened = draw(card({"k": "x" * 200_000}), now=NOW)
    review, reject, _ask = next(b for b in shortened.blocks if b["type"] == "actions")["elements"]
    assert read(actions=[review]) == OtherAction(
        "a link was opened",
        True,
        "U0ALICE",
        "T0ACME",
        "A0APPROVE1",
        "C0APPR",
        "https://hooks.slack.com/actions/T0ACME/1/x",
    )
    assert isinstance(read(actions=[reject]), Click)


def test_what_is_smuggled_in_reaches_nothing() -> None:
    clean = read()
    extra = button(arguments={"amount": 1}, approve=True, selected_option={"value": "approve"})
    assert read(actions=[extra], arguments={"x": 1}, decision="approve", token="t", is_admin=True) == clean


def test_unknown_buttons_beside_a_known_one_are_ignored() -> None:
    click = read(actions=[button(action_id="dance"), button(action_id="reject")])
    assert isinstance(click, Click)
    assert click.kind == "reject"


def test_absent_names_are_empty_for_the_door_to_refuse() -> None:
    click = read(team=None, api_app_id=None, user={"id": "U0ALICE"}, response_url=None, message=None)
    assert isinstance(click, Click)
    assert (click.team_id, click.app_id, click.user_team_id, click.user_name) == ("", "", "", "")
    assert (click.response_url, click.message_app_id) == ("", "")


def test_a_bot_and_a_person_of_another_company_are_told_apart() -> None:
    click = read(user={"id": "U0EVE", "name": "eve", "team_id": "T0OTHER", "is_bot": True})
    assert isinstance(click, Click)
    assert (click.user_name, click.user_team_id, click.team_id, click.is_bot) == (
        "eve",
        "T0OTHER",
        "T0ACME",
        True,
    )


OTHERS: dict[str, dict[str, Any]] = {
    "modal submitted": {"type": "view_submission"},
    "unknown type": {"type": "weather_report"},
    "unknown button": {"actions": [button(action_id="escalate")]},
    "approve that is no button": {"actions": [button(type="overflow")]},
    "click in a modal": {"channel": None, "message": None, "container": {"type": "view"}},
    "no message named": {"container": None, "message": None},
    "value of an older version": {"actions": [button(value="req_01|1|q8Zt")]},
    "empty parts": {"actions": [button(value="||")]},
    "short digest": {"actions": [button(value=f"{ID}|1|{DIGEST[:15]}")]},
    "long digest": {"actions": [button(value=f"{ID}|1|{DIGEST[:17]}")]},
    "no digest": {"actions": [button(value=f"{ID}|1|")]},
    "upper-case digest": {"actions": [button(value=f"{ID}|1|{DIGEST[:16].upper()}")]},
    "revision zero": {"actions": [button(value=f"{ID}|0|{DIGEST[:16]}")]},
    "negative revision": {"actions": [button(value=f"{ID}|-1|{DIGEST[:16]}")]},
    "revision in other digits": {"actions": [button(value=f"{ID}|١|{DIGEST[:16]}")]},
    "endless revision": {"actions": [button(value=f"{ID}|{'9' * 400}|{DIGEST[:16]}")]},
    "a line break": {"actions": [button(value=VALUE + "\n")]},
    "a fourth part": {"actions": [button(value=VALUE + "|approve")]},
    "another id": {"actions": [button(value=f"run_1|1|{DIGEST[:16]}")]},
    "path in the id": {"actions": [button(value=f"apr_../x|1|{DIGEST[:16]}")]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_decides_nothing_can_still_be_answered(name: str) -> None:
    other = read(**OTHERS[name])
    assert isinstance(other, OtherAction)
    assert other.reason
    assert not other.quiet
    assert (other.user_id, other.team_id, other.app_id) == ("U0ALICE", "T0ACME", "A0APPROVE1")
    assert other.response_url.startswith("https://hooks.slack.com/")


def test_a_shortcut_names_the_message_it_was_used_on_or_none() -> None:
    used = read(type="message_action", container=None, message_ts="1795290000.000100")
    assert isinstance(used, Shortcut)
    assert (used.channel, used.ts, used.user_id) == ("C0APPR", "1795290000.000100", "U0ALICE")
    used = read(type="shortcut", channel=None, message=None, container=None)
    assert isinstance(used, Shortcut)
    assert (used.channel, used.ts, used.trigger_id) == ("", "", "7391.8210.5f0c")
    untold = read(type="shortcut", trigger_id=None)
    assert isinstance(untold, OtherAction)
    assert untold.quiet


@pytest.mark.parametrize("action", [{"action_id": "review"}, {"action_id": "x", "url": "https://x"}])
def test_opened_links_are_passed_over_quietly(action: dict[str, Any]) -> None:
    other = read(actions=[{"type": "button", **action}])
    assert isinstance(other, OtherAction)
    assert other.quiet


def test_what_is_not_of_the_right_form_is_left_out_of_a_stranger_payload() -> None:
    other = parse(form({"type": "x", "user": [], "team": {"id": 7}, "channel": "C0", "response_url": "a b"}))
    assert other == OtherAction("nothing is done about 'x'", quiet=True)


@pytest.mark.parametrize("place", ["channel", "response_url"])
def test_of_a_kind_there_is_not_somebody_is_told_where_that_can_be(place: str) -> None:
    """Slack gets its 200 either way (reference: unknown `type`)."""
    nowhere: dict[str, Any] = {"channel": None, "response_url": None}
    told = {k: v for k, v in nowhere.items() if k != place}
    heard = [read(type="block_suggestion", **where) for where in (told, nowhere)]
    assert [isinstance(h, OtherAction) and h.quiet for h in heard] == [False, True]


WRONG: dict[str, dict[str, Any]] = {
    "type": {"type": 7},
    "no type": {"type": None},
    "actions": {"actions": {}},
    "no actions": {"actions": []},
    "action": {"actions": ["approve"]},
    "two decisions": {"actions": [button(), button(action_id="reject")]},
    "value": {"actions": [button(value=["apr"])]},
    "no value": {"actions": [button(value=None)]},
    "endless value": {"actions": [button(value="x" * 2_001)]},
    "user": {"user": "U0ALICE"},
    "no user": {"user": None},
    "user id": {"user": {"id": 7}},
    "user id list": {"user": {"id": ["U0ALICE"]}},
    "user id form": {"user": {"id": "U0ALICE>"}},
    "user id break": {"user": {"id": "U0ALICE\n"}},
    "no user id": {"user": {"name": "alice"}},
    "user name": {"user": {"id": "U0ALICE", "username": {"x": 1}}},
    "half a character": {"user": {"id": "U0ALICE", "username": "\ud800"}},
    "user team": {"user": {"id": "U0ALICE", "team_id": {}}},
    "bot": {"user": {"id": "U0ALICE", "is_bot": "no"}},
    "team": {"team": "T0ACME"},
    "team id": {"team": {"id": "../T0"}},
    "app": {"api_app_id": ["A0APPROVE1"]},
    "channel": {"channel": "C0APPR"},
    "channel id": {"channel": {"id": 5}},
    "container": {"container": []},
    "ts": {"container": {"message_ts": 1795290000.0001, "channel_id": "C0APPR"}},
    "ts form": {"container": {"message_ts": "now", "channel_id": "C0APPR"}},
    "two messages": {"container": {"message_ts": "1.2", "channel_id": "C0APPR"}},
    "two channels": {"container": {"message_ts": "1795290000.000100", "channel_id": "C0OTHER"}},
    "message": {"message": "x"},
    "trigger": {"trigger_id": 7},
    "no trigger": {"trigger_id": ""},
    "response url": {"response_url": {"u": 1}},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_types_are_named_and_refused(name: str) -> None:
    with pytest.raises(InvalidError) as e:
        read(**WRONG[name])
    assert e.value.fields


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"payload=",
        b"payload=x",
        b"payload=[]",
        b"payload=%22x%22",
        b"payload=null",
        b"payload=%ff",
        b"payload=\xff",
        b"other=" + form(payload())[8:],
        form(payload()) + b"&payload=%7B%7D",
        form(payload()) + b"&token=x",
        b"ssl_check=1&token=x",
        json.dumps(payload()).encode(),
        b"payload=" + quote_plus('{"type": "block_actions", "type": "x"}').encode(),
        b"payload=" + quote_plus('{"type": NaN}').encode(),
        b"payload=" + quote_plus('{"type": ' + "9" * 10_000 + "}").encode(),
        b"payload=" + b"%5B" * 100_000,
        b"payload=" + quote_plus('{"a":' * 50_000).encode(),
        b"&".join([b"a=1"] * 50_000),
    ],
    ids=range(20),
)
def test_bodies_that_are_no_form_of_slacks_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidError):
        parse(body)


def submission(**changes: Any) -> dict[str, Any]:
    """A window of ours, sent off; `changes` to its view."""
    view = {"id": "V0A1", "callback_id": "reject", "private_metadata": VALUE, "app_id": "A0APPROVE1"}
    view["state"] = {"values": {"reason": {"reason": {"type": "plain_text_input", "value": "No\u0007w"}}}}
    base = {k: v for k, v in payload().items() if k in ("api_app_id", "team", "user", "trigger_id")}
    return {**base, "type": "view_submission", "view": {**view, **changes}}


def test_a_window_that_was_sent_off_is_read() -> None:
    for kind in ("reject", "edit", "details"):
        sent = parse(form(submission(callback_id=kind)))
        assert isinstance(sent, Submission)
        assert (sent.kind, sent.approval, sent.revision, sent.digest_prefix) == (kind, ID, 1, DIGEST[:16])
        assert (sent.user_id, sent.user_team_id, sent.team_id) == ("U0ALICE", "T0ACME", "T0ACME")
        assert (sent.app_id, sent.view_id, sent.is_bot) == ("A0APPROVE1", "V0A1", False)
        assert typed(sent.values, "reason", "reason") == "Now"
        assert typed(sent.values, "reason", "other") == ""


@pytest.mark.parametrize(
    "changes", [{"callback_id": "approve"}, {"callback_id": 7}, {"private_metadata": f"{ID}|1|x"}]
)
def test_a_window_of_another_version_decides_nothing(changes: dict[str, Any]) -> None:
    other = parse(form(submission(**changes)))
    assert isinstance(other, OtherAction)
    assert other.sent
    closed = parse(form(submission() | {"type": "view_closed"}))
    assert isinstance(closed, OtherAction)
    assert closed.quiet


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x"},
        {"id": None},
        {"app_id": "A0OTHER"},
        {"private_metadata": 7},
        {"state": []},
        {"state": {"values": []}},
        {"state": {"values": {"a": 1}}},
        {"state": {"values": {"a": {"b": "c"}}}},
        {"state": {"values": {"a": {"b": {"value": "\ud800"}}}}},
        {"state": {"values": {f"b{n}": {} for n in range(101)}}},
    ],
)
def test_a_window_of_a_wrong_shape_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        parse(form(submission(**changes)))


def test_a_button_in_a_window_opens_another_and_never_decides() -> None:
    inside = {"channel": None, "message": None, "container": {"type": "view"}, "view": {"id": "V0A1"}}
    for kind in ("edit", "reject_reason"):
        click = read(actions=[button(action_id=kind)], **inside)
        assert isinstance(click, Click)
        assert (click.kind, click.view_id, click.channel, click.ts) == (kind, "V0A1", "", "")
    for kind in ("approve", "reject", "refine", "details"):
        assert isinstance(read(actions=[button(action_id=kind)], **inside), OtherAction)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    ("type",), ("api_app_id",), ("trigger_id",), ("team",), ("team", "id"), ("user",), ("user", "id"),
    ("user", "username"), ("user", "name"), ("user", "team_id"), ("user", "is_bot"), ("container",),
    ("container", "message_ts"), ("container", "channel_id"), ("channel",), ("channel", "id"), ("message",),
    ("message", "ts"), ("message", "app_id"), ("response_url",), ("actions",), ("actions", 0),
    ("actions", 0, "value"), ("actions", 0, "action_id"), ("actions", 0, "type"), ("actions", 0, "url"),
]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_any_value_in_any_place_is_read_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    value: Any = copy.deepcopy(payload())
    for path, new in changes:
        holder = value
        for step in path[:-1]:
            holder = holder.get(step) if isinstance(holder, dict) else holder[0] if holder else None
            if not isinstance(holder, dict | list) or not holder:
                break
        else:
            if isinstance(holder, dict) or path[-1] == 0:
                holder[path[-1]] = new
    try:
        read_ = parse(form(value))
    except InvalidError:
        return
    assert isinstance(read_, Click | OtherAction)
    if isinstance(read_, Click):
        assert (read_.approval, read_.revision, read_.digest_prefix) == (ID, 1, DIGEST[:16])
        str(read_).encode()


@settings(max_examples=250)
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda t: b"payload=" + quote_plus(t, errors="replace").encode())
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        found = parse(body)
    except InvalidError:
        return
    assert isinstance(found, OtherAction)
