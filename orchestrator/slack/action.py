"""A signed request of Slack's, read as a click or a sent form. No I/O; raw bytes in, values out.

`verify` believes nothing but the bytes and the clock; `parse` takes the few fields it knows and refuses to
guess. Whether that person may decide, and whether the question is still open, is not asked here.

Sources: Slack, "Verifying requests from Slack"; "block_actions payload"; "view_submission payload".
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, NoReturn
from urllib.parse import parse_qsl

from orchestrator.domain.choosing import MOST_FILES
from orchestrator.domain.inquiries import MOST as MOST_INQUIRIES
from orchestrator.errors import InvalidError, SignatureError
from orchestrator.slack.looks import Look, block_id
from orchestrator.slack.text import MENTION
from orchestrator.strictjson import StrictReader

Headers = Mapping[str, str] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]
"""As a mapping (a multi-mapping keeps its repeats) or as pairs, for example a scope's raw ones."""

NOTE: Final = "note"
"""Block (before revision and state) and element of the field in which people say what to change."""
NOTE_CHARS: Final = 1_000
"""Most characters of such a note."""
MOST_TOGETHER: Final = 20
"""Questions that one window answers in one go."""
MOST_BUTTONS: Final = 5
"""Choices of a question that get a button each."""

_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE: Final = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)
_VALUE: Final = re.compile(r"(apr_[A-Za-z0-9_-]{1,64})\|([1-9][0-9]{0,8})\|([0-9a-f]{16})", re.ASCII)
_TEAM: Final = re.compile(r"[TE][A-Z0-9]{2,}", re.ASCII)
_APP: Final = re.compile(r"A[A-Z0-9]{2,}", re.ASCII)
_CHANNEL: Final = re.compile(r"[CDG][A-Z0-9]{2,}", re.ASCII)
_TS: Final = re.compile(r"[0-9]{1,12}\.[0-9]{1,6}", re.ASCII)
GroupKind = Literal["approve_all", "reject_all"]
Kind = (
    Literal["approve", "reject", "refine", "choose", "reject_reason", "edit", "details", "answer"]
    | Literal["again", "ask", "reply"]
    | GroupKind
)
"""What a button does: the first four decide at once, the others open a window."""
Sent = Literal["reject", "edit", "details", "answer", "again", "ask", "reply"] | GroupKind
"""Which of our windows was sent off: with a reason, other arguments, an approval, an answer, a note for files
that are to be made anew, a question to whoever asked for the run, or the answer to that; or one that answers
several questions in one go."""
_KINDS: Final[dict[object, Kind]] = {
    "approve": "approve",
    "reject": "reject",
    "refine": "refine",
    "reject_reason": "reject_reason",
    "edit": "edit",
    "details": "details",
    "answer": "answer",
    "approve_all": "approve_all",
    "reject_all": "reject_all",
    **{f"choose_{place}": "choose" for place in range(MOST_FILES)},
    "again": "again",
    "ask": "ask",
    **{f"reply_{number}": "reply" for number in range(1, MOST_INQUIRIES + 1)},
}
_IN_VIEWS: Final = frozenset({"reject_reason", "edit", "answer", "again", "ask"})  # they stand in windows too
_AT_HOME: Final = frozenset({"details"})  # and on the Home tab
_WINDOWS: Final[dict[object, Sent]] = {
    "reject": "reject",
    "edit": "edit",
    "details": "details",
    "answer": "answer",
    "again": "again",
    "approve_all": "approve_all",
    "reject_all": "reject_all",
    "ask": "ask",
    **{f"reply_{number}": "reply" for number in range(1, MOST_INQUIRIES + 1)},
}
_GROUPS: Final = frozenset({"approve_all", "reject_all"})
_MOST_ROWS: Final = 100  # a view has no more blocks
_LINKS: Final = frozenset({"review"})  # our buttons that only open a page; Slack reports them all the same
_READER: Final = StrictReader(depth=64)
_LONGEST: Final = 2_000  # characters of any string we take
_LONGEST_TYPED: Final = 3_000  # no field of Slack's holds more
_VIEW: Final = re.compile(r"V[A-Z0-9]{2,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Click:
    """A button of ours was pressed. All of it is checked for shape only.

    Args:
        kind: Which button.
        approval: Our id of the question.
        revision: Of the question as it was shown.
        digest_prefix: First 16 hex digits of the digest that was shown.
        user_id: Who pressed; the only name to decide by.
        user_name: For the record; people choose it themselves.
        team_id: The workspace the request is for; empty if Slack named none.
        user_team_id: The person's own workspace, another one in shared channels; empty if not named.
        app_id: The app the request is for; empty if not named.
        channel: Where it was pressed; empty in a window.
        ts: The message it was pressed on; empty in a window.
        response_url: For a whisper; not checked yet. Empty if there is none.
        trigger_id: New for every press: equal ones are one press.
        is_bot: Slack says the presser is a bot.
        message_app_id: The app that wrote the message; empty if not named.
        note: What stood in the message's field for a note, if it has one; without control characters.
        view_id: The window or Home tab it was pressed in; empty for a message.
        home: It was the Home tab.
        choice: Of `choose`, which of the choices, from 0.
        number: Of `reply`, which question, from 1.
    """

    kind: Kind
    approval: str
    revision: int
    digest_prefix: str
    user_id: str
    user_name: str
    team_id: str
    user_team_id: str
    app_id: str
    channel: str
    ts: str
    response_url: str
    trigger_id: str
    is_bot: bool = False
    message_app_id: str = ""
    note: str = ""
    view_id: str = ""
    home: bool = False
    choice: int = 0
    number: int = 0


class Shown(NamedTuple):
    """A question as a window showed it: our id of it, its revision, first 16 hex digits of its digest."""

    approval: str
    revision: int
    digest_prefix: str


@dataclass(frozen=True, slots=True)
class Submission:
    """One of our windows was sent off. All of it is checked for shape only; fields as in `Click`.

    Args:
        kind: Which window.
        values: `view.state.values`: by block and action id what was entered, in Slack's shapes.
        number: Of `reply`, which question, from 1.
        others: Of a window about several questions the further ones, each by its id, revision and digest.
    """

    kind: Sent
    approval: str
    revision: int
    digest_prefix: str
    user_id: str
    user_name: str
    team_id: str
    user_team_id: str
    app_id: str
    view_id: str
    values: Mapping[str, Mapping[str, Mapping[str, Any]]]
    is_bot: bool = False
    others: tuple[Shown, ...] = ()
    number: int = 0

    @property
    def shown(self) -> tuple[Shown, ...]:
        """Every question it is about, as it was shown."""
        return Shown(self.approval, self.revision, self.digest_prefix), *self.others


@dataclass(frozen=True, slots=True)
class OtherAction:
    """Something of Slack's that decides nothing. What is known of it serves a whisper.

    `quiet` means that nobody expects a word about it: a link was opened, a window closed. `sent` means that
    it was a window, which stays open until it is told something.
    """

    reason: str
    quiet: bool = False
    user_id: str = ""
    team_id: str = ""
    app_id: str = ""
    channel: str = ""
    response_url: str = ""
    sent: bool = False


def note_block(revision: int) -> str:
    """The id of the block with the note in the open question of that revision."""
    return block_id(NOTE, revision, Look.PENDING)


def verify(
    headers: Headers, body: bytes, *, secrets: Sequence[str], now: datetime, tolerance_seconds: float = 300
) -> None:
    """Return if Slack signed exactly `body` with one of `secrets`, not long ago; nothing else is said.

    Args:
        headers: Those of the request; each of the two must be there exactly once.
        body: The raw bytes, before anything has parsed them.
        secrets: Signing secrets that count now: during a rotation the new one and the old.
        now: Aware; compared with the request's timestamp in both directions.
        tolerance_seconds: The largest difference that is still believed.

    Raises:
        SignatureError: In every other case; `malformed` when the headers are not of the right form.
    """
    pairs = [(_ascii(k).lower(), _ascii(v)) for k, v in _pairs(headers)]
    timestamp = _header(pairs, "x-slack-request-timestamp", _TIMESTAMP)
    signature = _header(pairs, "x-slack-signature", _SIGNATURE)
    if abs(now.timestamp() - int(timestamp)) > tolerance_seconds:
        raise SignatureError("the request is too old, or a clock is wrong")
    base = b"v0:" + timestamp.encode() + b":" + body
    good = [hmac.compare_digest(_signed(secret, base), signature) for secret in _usable(secrets)]
    if not any(good):
        raise SignatureError("no secret of ours made this signature")


def _usable(secrets: Sequence[str]) -> list[str]:
    """An empty secret is none: everybody could sign with it. A lone string is one secret, not letters."""
    return [s for s in ([secrets] if isinstance(secrets, str) else secrets) if s.strip()]


def _signed(secret: str, base: bytes) -> str:
    return "v0=" + hmac.new(secret.encode("utf-8", "surrogateescape"), base, hashlib.sha256).hexdigest()


def _pairs(headers: Headers) -> Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]:
    return headers.items() if isinstance(headers, Mapping) else headers


def _header(pairs: Sequence[tuple[str, str]], name: str, form: re.Pattern[str]) -> str:
    values = [value for key, value in pairs if key == name]
    if len(values) != 1 or not form.fullmatch(values[0]):
        raise SignatureError(f"{name} is missing, repeated or malformed", malformed=True)
    return values[0]


def _ascii(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def parse(body: bytes) -> Click | Submission | OtherAction:
    """Read an interactivity body: a form with the one field `payload`, which holds JSON.

    Unknown fields are ignored; arguments or decisions smuggled in among them reach nothing. A button whose
    value is not of our form is another version's: an `OtherAction`.

    Raises:
        InvalidError: Not of the form Slack sends; `fields` names the place.
    """
    return read(payload_of(body))


def read(payload: Mapping[str, Any]) -> Click | Submission | OtherAction:
    """The same, of what the form holds. Raises `InvalidError`."""
    kind = _string(payload, "type", required=True)
    if kind == "view_submission":
        return _submission(payload)
    if kind == "view_closed":
        return _other(payload, "a window was closed", quiet=True)
    if kind != "block_actions":
        return _other(payload, f"nothing is done about {kind[:40]!r}")
    actions = _actions(payload)
    known = [a for a in actions if _kind(a) and a.get("type") == "button"]
    if len(known) > 1:
        _refuse("actions", "more than one decision")
    if known:
        return _click(payload, known[0])
    opened = all(str(a.get("action_id")) in _LINKS or isinstance(a.get("url"), str) for a in actions)
    return _other(payload, "a link was opened" if opened else "an unknown button", quiet=opened)


def payload_of(body: bytes) -> dict[str, Any]:
    """What an interactivity body holds, unread. Raises `InvalidError`."""
    try:
        text = body.decode("utf-8")
        fields = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8
        )
        if [name for name, _ in fields] != ["payload"]:
            _refuse("", "must be a form with the one field payload")
        payload = _READER.read(fields[0][1].encode("utf-8"))
    except ValueError as e:
        raise InvalidError("not a form that holds JSON", (("payload", "cannot be read"),)) from e
    return payload if isinstance(payload, dict) else _refuse("payload", "must be an object")


def _actions(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    actions = payload.get("actions")
    if not isinstance(actions, list) or not actions or not all(isinstance(a, dict) for a in actions):
        _refuse("actions", "must be a list of objects")
    return actions


def _kind(action: Mapping[str, Any]) -> Kind | None:
    name = action.get("action_id")
    return _KINDS.get(name) if isinstance(name, str) else None


def _click(payload: Mapping[str, Any], action: Mapping[str, Any]) -> Click | OtherAction:
    value = _VALUE.fullmatch(_string(action, "value", required=True, at="actions.value"))
    kind = _kind(action)
    if value is None or kind is None:
        return _other(payload, "a button of another version")
    channel, ts = _place(payload)
    view = _object(payload, "view")
    view_id, home = _string(view, "id", _VIEW, at="view.id"), view.get("type") == "home"
    if not channel and not (view_id and kind in (_AT_HOME if home else _IN_VIEWS)):
        return _other(payload, "a button outside a message")
    user, team = _object(payload, "user", required=True), _object(payload, "team")
    return Click(
        kind=kind,
        approval=value[1],
        revision=int(value[2]),
        digest_prefix=value[3],
        user_id=_string(user, "id", MENTION, required=True, at="user.id"),
        user_name=_string(user, "username", at="user.username") or _string(user, "name", at="user.name"),
        team_id=_string(team, "id", _TEAM, at="team.id"),
        user_team_id=_string(user, "team_id", _TEAM, at="user.team_id"),
        app_id=_string(payload, "api_app_id", _APP),
        channel=channel,
        ts=ts,
        response_url=_string(payload, "response_url"),
        trigger_id=_string(payload, "trigger_id", required=True),
        is_bot=_flag(user, "is_bot", "user.is_bot"),
        message_app_id=_string(_object(payload, "message"), "app_id", _APP, at="message.app_id"),
        note=_note(payload, int(value[2])) if kind in ("reject", "refine") else "",
        choice=int(str(action["action_id"]).rpartition("_")[2]) if kind == "choose" else 0,
        number=int(str(action["action_id"])[-1]) if kind == "reply" else 0,
        view_id="" if channel else view_id,
        home=home and not channel,
    )


def _submission(payload: Mapping[str, Any]) -> Submission | OtherAction:
    """A window is ours by its callback id, and names its question as a button does."""
    view = _object(payload, "view")
    callback = view.get("callback_id")
    kind = _WINDOWS.get(callback) if isinstance(callback, str) else None
    shown = _shown(_string(view, "private_metadata", at="view.private_metadata", most=3_000))
    if kind is None or not shown or (len(shown) > 1) != (kind in _GROUPS):
        return _other(payload, "a window of another version", sent=bool(view))
    user, team = _object(payload, "user", required=True), _object(payload, "team")
    app_id = _string(payload, "api_app_id", _APP)
    if _string(view, "app_id", _APP, at="view.app_id") not in ("", app_id):
        _refuse("view.app_id", "names another app")
    return Submission(
        kind=kind,
        approval=shown[0].approval,
        revision=shown[0].revision,
        digest_prefix=shown[0].digest_prefix,
        user_id=_string(user, "id", MENTION, required=True, at="user.id"),
        user_name=_string(user, "username", at="user.username") or _string(user, "name", at="user.name"),
        team_id=_string(team, "id", _TEAM, at="team.id"),
        user_team_id=_string(user, "team_id", _TEAM, at="user.team_id"),
        app_id=app_id,
        view_id=_string(view, "id", _VIEW, required=True, at="view.id"),
        values=_values(view),
        is_bot=_flag(user, "is_bot", "user.is_bot"),
        others=shown[1:],
        number=int(str(callback)[-1]) if kind == "reply" else 0,
    )


def _shown(metadata: str) -> tuple[Shown, ...]:
    """The questions a window names, each once; nothing where that is not of our form."""
    values = [_VALUE.fullmatch(part) for part in metadata.split(" ")]
    known = [Shown(v[1], int(v[2]), v[3]) for v in values if v is not None]
    once = len({shown.approval for shown in known}) == len(values)
    return tuple(known) if once and len(values) <= MOST_TOGETHER else ()


def _values(view: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """What was entered: objects three deep; what each element holds is for its form to read."""
    values = _object(_object(view, "state"), "values")
    if len(values) > _MOST_ROWS:
        _refuse("view.state.values", "has more blocks than a view")
    for row in values.values():
        if not isinstance(row, dict) or not all(isinstance(entry, dict) for entry in row.values()):
            _refuse("view.state.values", "must be objects in objects")
    return values


def typed(values: Mapping[str, Mapping[str, Mapping[str, Any]]], block: str, action: str) -> str:
    """The text in one input of a window, without control characters; empty where there is none.

    Raises:
        InvalidError: It is no text, or longer than any field takes.
    """
    entry = values.get(block, {}).get(action, {})
    return _printable(_string(entry, "value", at=f"view.state.values.{block}", most=_LONGEST_TYPED))


def ticked(values: Mapping[str, Mapping[str, Mapping[str, Any]]], block: str, action: str) -> bool:
    """Whether the one box of an input of a window is ticked.

    Raises:
        InvalidError: It is no choice of boxes.
    """
    chosen = values.get(block, {}).get(action, {}).get("selected_options")
    if chosen is None:
        return False
    return (
        bool(chosen) if isinstance(chosen, list) else _refuse(f"view.state.values.{block}", "must be a list")
    )


def _note(payload: Mapping[str, Any], revision: int) -> str:
    """What was typed beside the buttons of this revision; every other field of the message is ignored."""
    row = _object(_object(_object(payload, "state"), "values"), note_block(revision))
    return _printable(_string(_object(row, NOTE), "value", at="state.values.note", most=_LONGEST_TYPED))


def _printable(text: str) -> str:
    return "".join(ch for ch in text if ch.isprintable() or ch in "\n\t").strip()


def _place(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Channel and ts of the pressed message; the container's and the message's word must agree."""
    channel, container = _object(payload, "channel"), _object(payload, "container")
    message = _object(payload, "message")
    channels = {
        _string(channel, "id", _CHANNEL, at="channel.id"),
        _string(container, "channel_id", _CHANNEL, at="container.channel_id"),
    } - {""}
    stamps = {
        _string(container, "message_ts", _TS, at="container.message_ts"),
        _string(message, "ts", _TS, at="message.ts"),
    } - {""}
    if len(channels) > 1 or len(stamps) > 1:
        _refuse("container", "names another message")
    return (channels.pop(), stamps.pop()) if channels and stamps else ("", "")


def _other(
    payload: Mapping[str, Any], reason: str, *, quiet: bool = False, sent: bool = False
) -> OtherAction:
    """Whatever of a stranger payload has the right form; the rest is left empty, nothing is refused."""

    def known(holder: object, key: str, form: re.Pattern[str]) -> str:
        value = holder.get(key) if isinstance(holder, dict) else None
        return value if isinstance(value, str) and form.fullmatch(value) else ""

    return OtherAction(
        reason,
        quiet,
        sent=sent,
        user_id=known(payload.get("user"), "id", MENTION),
        team_id=known(payload.get("team"), "id", _TEAM),
        app_id=known(payload, "api_app_id", _APP),
        channel=known(payload.get("channel"), "id", _CHANNEL),
        response_url=known(payload, "response_url", re.compile(r"[!-~]{1,2000}", re.ASCII)),
    )


def _object(holder: Mapping[str, Any], key: str, *, required: bool = False) -> dict[str, Any]:
    value = holder.get(key)
    if value is None and not required:
        return {}
    return value if isinstance(value, dict) else _refuse(key, "must be an object")


def _string(
    holder: Mapping[str, Any],
    key: str,
    form: re.Pattern[str] | None = None,
    *,
    required: bool = False,
    at: str = "",
    most: int = _LONGEST,
) -> str:
    """A string of the right form; absent or null is empty, unless it is required."""
    value = holder.get(key)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or len(value) > most or (required and not value):
        _refuse(at or key, "must be a string")
    if form is not None and not form.fullmatch(value):
        _refuse(at or key, "is not of the form Slack uses")
    if any("\ud800" <= ch <= "\udfff" for ch in value):
        _refuse(at or key, "holds half a character")
    return value


def _flag(holder: Mapping[str, Any], key: str, at: str) -> bool:
    value = holder.get(key)
    if value is not None and not isinstance(value, bool):
        _refuse(at, "must be true or false")
    return bool(value)


def _refuse(at: str, why: str) -> NoReturn:
    raise InvalidError(f"{at or 'body'}: {why}", ((at, why),))
