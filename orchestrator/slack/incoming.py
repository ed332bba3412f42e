"""What Slack sends besides clicks and windows: slash commands and events, read from their payloads. No I/O.

Both ways in, an address of ours and a socket, give the same payloads: a command is a flat object of texts,
an event is in the envelope of the Events API.

Sources: Slack, "Implementing slash commands"; "Using the Events API"; `app_home_opened`, `app_uninstalled`,
`tokens_revoked`, `url_verification`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from orchestrator.domain.consent import SLACK_USER
from orchestrator.domain.plain import JsonObject
from orchestrator.errors import InvalidError
from orchestrator.slack.payload import APP, TEAM
from orchestrator.strictjson import StrictReader

_CHALLENGE: Final = re.compile(r"[!-~]{1,500}", re.ASCII)
_LONGEST: Final = 4_000  # characters of anything a person can type into one command
_MOST_FIELDS: Final = 50
_READER: Final = StrictReader(depth=64)


@dataclass(frozen=True, slots=True)
class Command:
    """Somebody typed our slash command. Checked for shape only.

    Args:
        text: What stands after the command.
        user_id: Who typed it.
        team_id: Their workspace; empty if not named.
        app_id: The app it is for; empty if not named.
    """

    text: str
    user_id: str
    team_id: str
    app_id: str


@dataclass(frozen=True, slots=True)
class HomeOpened:
    """Somebody opened our Home tab; fields as in `Command`."""

    user_id: str
    team_id: str
    app_id: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The app or its bot token is gone from a workspace; `event` is Slack's word for which."""

    event: str
    team_id: str
    app_id: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """Slack asks whether an address is ours: it wants this text back."""

    text: str


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event nothing is done about."""

    kind: str


def fields_of(body: bytes) -> JsonObject:
    """The payload of a slash command that was posted: a plain form. Raises `InvalidError`."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as e:
        raise InvalidError("not a form", (("body", "cannot be read"),)) from e
    found: JsonObject = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidError("a field is given twice", (("body", "names a field twice"),))
    return found


def json_of(body: bytes) -> JsonObject:
    """The payload of an event that was posted, or of an envelope. Raises `InvalidError`."""
    try:
        payload = _READER.read(body)
    except ValueError as e:
        raise InvalidError("not JSON", (("body", "cannot be read"),)) from e
    if not isinstance(payload, dict):
        raise InvalidError("not an object", (("body", "must be an object"),))
    return payload


def command(payload: Mapping[str, Any]) -> Command:
    """Raises `InvalidError`: not of the form Slack sends."""
    return Command(
        text=_text(payload, "text").strip(),
        user_id=_text(payload, "user_id", SLACK_USER, required=True),
        team_id=_text(payload, "team_id", TEAM),
        app_id=_text(payload, "api_app_id", APP),
    )


def event(payload: Mapping[str, Any]) -> HomeOpened | Removed | Challenge | OtherEvent:
    """Raises `InvalidError`: not of the form Slack sends."""
    kind = _text(payload, "type", required=True)
    if kind == "url_verification":
        return Challenge(_text(payload, "challenge", _CHALLENGE, required=True))
    inner = payload.get("event")
    if kind != "event_callback" or not isinstance(inner, dict):
        return OtherEvent(kind[:40])
    named = _text(inner, "type")
    if named == "app_uninstalled" or (named == "tokens_revoked" and _of_a_bot(inner)):
        return Removed(named, _text(payload, "team_id", TEAM), _text(payload, "api_app_id", APP))
    if named != "app_home_opened" or inner.get("tab") != "home":
        return OtherEvent(named[:40])
    return HomeOpened(
        user_id=_text(inner, "user", SLACK_USER, required=True),
        team_id=_text(payload, "team_id", TEAM),
        app_id=_text(payload, "api_app_id", APP),
    )


def _of_a_bot(revoked: Mapping[str, Any]) -> bool:
    """People's tokens may be revoked, too: we use none."""
    tokens = revoked.get("tokens")
    return isinstance(tokens, dict) and bool(tokens.get("bot"))


def _text(
    holder: Mapping[str, Any], key: str, form: re.Pattern[str] | None = None, *, required: bool = False
) -> str:
    """Text of the right form; absent, null and empty are empty, unless it is required."""
    value = holder.get(key)
    if (value is None or value == "") and not required:
        return ""
    if not isinstance(value, str) or not value:
        raise InvalidError(f"{key}: must be text", ((key, "must be text"),))
    if len(value) > _LONGEST:
        why = f"has {len(value)} characters; at most {_LONGEST} are taken"
        raise InvalidError(f"{key}: {why}", ((key, why),))
    if form is not None and not form.fullmatch(value):
        raise InvalidError(f"{key}: is not of the form Slack uses", ((key, "is not of the form Slack uses"),))
    return value
