"""An interactivity payload of Slack's, read as a click or a sent form. Raw bytes in, values out; no I/O.

Only known fields are taken, and nothing is guessed. Read this only after `signature.verify`.

Sources: Slack, "Handling user interaction"; "block_actions payload"; "view_submission payload".
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypedDict
from urllib.parse import parse_qsl

from orchestrator.domain.choosing import MOST_FILES
from orchestrator.domain.consent import SLACK_USER
from orchestrator.domain.inquiries import MOST as MOST_INQUIRIES
from orchestrator.domain.values import replace
from orchestrator.errors import InvalidError
from orchestrator.slack import inputs
from orchestrator.slack.action import (
    MOST_TOGETHER,
    Click,
    Kind,
    OtherAction,
    Sent,
    Shortcut,
    ShownQuestion,
    Submission,
)
from orchestrator.slack.payload import APP, CHANNEL, TEAM, TS, VIEW, flag, obj, refuse, string
from orchestrator.strictjson import StrictReader

_VALUE: Final = re.compile(r"(apr_[A-Za-z0-9_-]{1,64})\|([1-9][0-9]{0,8})\|([0-9a-f]{16})", re.ASCII)
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
_LINKS: Final = frozenset({"review"})  # our buttons that only open a page; Slack reports them all the same
_SHORTCUTS: Final = frozenset({"shortcut", "message_action"})
_READER: Final = StrictReader(depth=64)


def parse(body: bytes) -> Click | Submission | Shortcut | OtherAction:
    """Read an interactivity body: a form with the one field `payload`, which holds JSON.

    Unknown fields are ignored; arguments or decisions smuggled in among them reach nothing. A button whose
    value is not of our form is another version's: an `OtherAction`.

    Raises:
        InvalidError: Not of the form Slack sends; `fields` names the place.
    """
    return read(payload_of(body))


def read(payload: Mapping[str, Any]) -> Click | Submission | Shortcut | OtherAction:
    """The same, of what the form holds. Raises `InvalidError`."""
    kind = string(payload, "type", required=True)
    if kind == "view_submission":
        return _submission(payload)
    if kind == "view_closed":
        return _other(payload, "a window was closed", quiet=True)
    if kind in _SHORTCUTS:
        return _shortcut(payload)
    if kind != "block_actions":
        other = _other(payload, f"nothing is done about {kind[:40]!r}")
        # Of a button that nobody can be told of Slack shows a failure; here no button of ours was pressed.
        return replace(other, quiet=not (other.channel or other.response_url))
    actions = _actions(payload)
    known = [a for a in actions if _kind(a) and a.get("type") == "button"]
    if len(known) > 1:
        refuse("actions", "more than one decision")
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
            refuse("", "must be a form with the one field payload")
        payload = _READER.read(fields[0][1].encode("utf-8"))
    except ValueError as e:
        raise InvalidError("not a form that holds JSON", (("payload", "cannot be read"),)) from e
    return payload if isinstance(payload, dict) else refuse("payload", "must be an object")


def _actions(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    actions = payload.get("actions")
    if not isinstance(actions, list) or not actions or not all(isinstance(a, dict) for a in actions):
        refuse("actions", "must be a list of objects")
    return actions


def _kind(action: Mapping[str, Any]) -> Kind | None:
    name = action.get("action_id")
    return _KINDS.get(name) if isinstance(name, str) else None


def _click(payload: Mapping[str, Any], action: Mapping[str, Any]) -> Click | OtherAction:
    value = _VALUE.fullmatch(string(action, "value", required=True, at="actions.value"))
    kind = _kind(action)
    if value is None or kind is None:
        return _other(payload, "a button of another version")
    channel, ts = _place(payload)
    view = obj(payload, "view")
    view_id, home = string(view, "id", VIEW, at="view.id"), view.get("type") == "home"
    if not channel and not (view_id and kind in (_AT_HOME if home else _IN_VIEWS)):
        return _other(payload, "a button outside a message")
    return Click(
        **_person(payload),
        kind=kind,
        approval=value[1],
        revision=int(value[2]),
        digest_prefix=value[3],
        channel=channel,
        ts=ts,
        response_url=string(payload, "response_url"),
        trigger_id=string(payload, "trigger_id", required=True),
        message_app_id=string(obj(payload, "message"), "app_id", APP, at="message.app_id"),
        note=inputs.note(payload, int(value[2])) if kind in ("reject", "refine") else "",
        choice=int(str(action["action_id"]).rpartition("_")[2]) if kind == "choose" else 0,
        number=int(str(action["action_id"])[-1]) if kind == "reply" else 0,
        view_id="" if channel else view_id,
        home=home and not channel,
    )


def _submission(payload: Mapping[str, Any]) -> Submission | OtherAction:
    """A window is ours by its callback id, and names its question as a button does."""
    view = obj(payload, "view")
    callback = view.get("callback_id")
    kind = _WINDOWS.get(callback) if isinstance(callback, str) else None
    shown = _shown(string(view, "private_metadata", at="view.private_metadata", most=3_000))
    if kind is None or not shown or (len(shown) > 1) != (kind in _GROUPS):
        return _other(payload, "a window of another version", sent=bool(view))
    by = _person(payload)
    if string(view, "app_id", APP, at="view.app_id") not in ("", by["app_id"]):
        refuse("view.app_id", "names another app")
    return Submission(
        **by,
        kind=kind,
        approval=shown[0].approval,
        revision=shown[0].revision,
        digest_prefix=shown[0].digest_prefix,
        view_id=string(view, "id", VIEW, required=True, at="view.id"),
        values=inputs.entered(view),
        others=shown[1:],
        number=int(str(callback)[-1]) if kind == "reply" else 0,
    )


def _shortcut(payload: Mapping[str, Any]) -> Shortcut | OtherAction:
    """The one on a message names it; whoever used the other is told in a window."""
    by = _person(payload)
    by["user_team_id"] = by["user_team_id"] or by["team_id"]
    trigger = string(payload, "trigger_id")
    channel = string(obj(payload, "channel"), "id", CHANNEL, at="channel.id")
    ts = string(payload, "message_ts", TS) or string(obj(payload, "message"), "ts", TS, at="message.ts")
    if not trigger:
        return _other(payload, "a shortcut that opens nothing", quiet=True)
    return Shortcut(
        **by,
        trigger_id=trigger,
        channel=channel if ts else "",
        ts=ts if channel else "",
        response_url=string(payload, "response_url"),
    )


class _Person(TypedDict):
    """The fields of a `Click`, and of the others, that say who it was, and by which app."""

    user_id: str
    user_name: str
    team_id: str
    user_team_id: str
    app_id: str
    is_bot: bool


def _person(payload: Mapping[str, Any]) -> _Person:
    user, team = obj(payload, "user", required=True), obj(payload, "team")
    return {
        "user_id": string(user, "id", SLACK_USER, required=True, at="user.id"),
        "user_name": string(user, "username", at="user.username") or string(user, "name", at="user.name"),
        "team_id": string(team, "id", TEAM, at="team.id"),
        "user_team_id": string(user, "team_id", TEAM, at="user.team_id"),
        "app_id": string(payload, "api_app_id", APP),
        "is_bot": flag(user, "is_bot", "user.is_bot"),
    }


def _shown(metadata: str) -> tuple[ShownQuestion, ...]:
    """The questions a window names, each once; nothing where that is not of our form."""
    values = [_VALUE.fullmatch(part) for part in metadata.split(" ")]
    known = [ShownQuestion(v[1], int(v[2]), v[3]) for v in values if v is not None]
    once = len({shown.approval for shown in known}) == len(values)
    return tuple(known) if once and len(values) <= MOST_TOGETHER else ()


def _place(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Channel and ts of the pressed message; the container's and the message's word must agree."""
    channel, container = obj(payload, "channel"), obj(payload, "container")
    message = obj(payload, "message")
    channels = {
        string(channel, "id", CHANNEL, at="channel.id"),
        string(container, "channel_id", CHANNEL, at="container.channel_id"),
    } - {""}
    stamps = {
        string(container, "message_ts", TS, at="container.message_ts"),
        string(message, "ts", TS, at="message.ts"),
    } - {""}
    if len(channels) > 1 or len(stamps) > 1:
        refuse("container", "names another message")
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
        user_id=known(payload.get("user"), "id", SLACK_USER),
        team_id=known(payload.get("team"), "id", TEAM),
        app_id=known(payload, "api_app_id", APP),
        channel=known(payload.get("channel"), "id", CHANNEL),
        response_url=known(payload, "response_url", re.compile(r"[!-~]{1,2000}", re.ASCII)),
    )
