"""Addresses and ids as settings spell them: checks that turn text into text, or raise `ValueError`.

No check repeats the value it refuses: an address may carry a password, an id may be a mispasted token.
"""

import base64
import binascii
import ipaddress
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from orchestrator.domain.consent import SLACK_USER
from orchestrator.settings.fields import shaped
from orchestrator.settings.secrets import Secret

WEBHOOK_PREFIX: Final = "whsec_"
UNTIL: Final = ";until="
RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
VISIBLE: Final = re.compile(r"[!-~]*")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
POSTGRESQL: Final = "postgresql+psycopg"


def is_loopback(host: str) -> bool:
    """This machine itself, by name or by a full address; short and numeric spellings do not count."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(text: str) -> tuple[SplitResult, str]:
    if not VISIBLE.fullmatch(text):
        raise ValueError("must be an address without blanks or other unusual characters")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        _ = parts.port  # the library looks at the port only now
    except ValueError:
        raise ValueError("must be an address, such as https://example.com") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must be an address that begins with https://")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must carry no user name, query or fragment")
    return parts, host


def own_address(text: str) -> str:
    """An address of ours that strangers call: https, except on this machine. No slash at the end."""
    parts, host = _split(text)
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must begin with https://; plain http is for this machine only")
    return text.rstrip("/")


def service_address(text: str) -> str:
    """Where we send keys to: https, except to this machine or a one-word host of a private network."""
    parts, host = _split(text)
    private = is_loopback(host) or re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", host) is not None
    if parts.scheme == "http" and not private:
        raise ValueError("must begin with https://; plain http is for this machine or a compose service")
    return text


def database_address(secret: Secret) -> Secret:
    """`sqlite:///file`, or PostgreSQL through psycopg. A database in memory would not outlive a restart.

    By options a file would go by another name than the one that is locked, and made for its owner only.
    """
    scheme, _, rest = secret.reveal().partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest[1:] not in ("", ":memory:"):
        if "?" in rest:
            raise ValueError("must be sqlite:///<file> without ?options")
        return secret
    if scheme == POSTGRESQL and rest and _is_read(secret):
        return secret
    raise ValueError(f"must be sqlite:///<file> or {POSTGRESQL}://<user>:<password>@<host>/<database>")


def _is_read(secret: Secret) -> bool:
    """Whether the library reads it as an address, a port that is a number included."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(secret.reveal())
    except (ValueError, ArgumentError):  # its text may quote the address, password and all
        return False
    return True


def carries_password(address: str) -> bool:
    """True when a database address holds a password, in front of the host or among its options."""
    rest = address.partition("://")[2]
    user, at, _ = rest.rpartition("@")
    return bool(at and ":" in user) or "password=" in rest.lower()


def webhook_secret(secret: Secret) -> Secret:
    """`whsec_` and base64, as Gemini hands it out when a webhook is made (Gemini API, "Webhooks").

    After it may stand `;until=` and the instant from which on it counts no longer, as a rotation sets it.
    """
    text, mark, end = secret.reveal().partition(UNTIL)
    try:
        key = base64.b64decode(text.removeprefix(WEBHOOK_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    # encoded again, because the decoder lets surplus padding pass
    if not key or text != WEBHOOK_PREFIX + base64.b64encode(key).decode():
        raise ValueError(f"must be {WEBHOOK_PREFIX} followed by base64")
    if mark:
        _instant(end)
    return secret


def ending(secret: Secret) -> tuple[Secret, datetime | None]:
    """A checked webhook secret without its end, and the end; None for one that counts on."""
    text, mark, end = secret.reveal().partition(UNTIL)
    return Secret(text), _instant(end) if mark else None


def _instant(text: str) -> datetime:
    try:
        if RFC3339.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # of the right shape, and yet no date
    raise ValueError(f"must end in {UNTIL} and a time such as 2026-12-01T00:00:00Z")


def webhook_token(secret: Secret) -> Secret:
    """A part of an address nobody guesses: with 64 letters to choose from, 32 of them are 192 bits."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{32,256}", secret.reveal()):
        raise ValueError("must be 32 to 256 letters, digits, - and _")
    return secret


def header_safe(secret: Secret) -> Secret:
    """Visible ASCII only: it goes into a header, where a stray line break would be another header."""
    if not VISIBLE.fullmatch(secret.reveal()):
        raise ValueError("must be visible ASCII without blanks or line breaks")
    return secret


def slack_address(text: str) -> str:
    """Slack's API: methods are appended, so it ends in a slash."""
    return service_address(text).rstrip("/") + "/"


def gemini_address(text: str) -> str:
    """Gemini's API: the library appends the version and the path."""
    return service_address(text).rstrip("/")


OwnAddress = Annotated[str, AfterValidator(own_address)]
ServiceAddress = Annotated[str, AfterValidator(service_address)]
GeminiAddress = Annotated[str, AfterValidator(gemini_address)]
SlackAddress = Annotated[str, AfterValidator(slack_address)]
DatabaseAddress = Annotated[Secret, AfterValidator(database_address)]
WebhookSecret = Annotated[Secret, AfterValidator(webhook_secret)]
WebhookToken = Annotated[Secret, AfterValidator(webhook_token)]
HeaderSecret = Annotated[Secret, AfterValidator(header_safe)]

TOKEN_NAME: Final = r"[a-z][a-z0-9_-]{0,63}"  # noqa: S105 - the shape of a name
UserId = Annotated[str, shaped(SLACK_USER.pattern, "a Slack user id, such as U0123ABC")]
_DECIDER: Final = rf"[UWS][A-Z0-9]{{2,}}|api:{TOKEN_NAME}"
Decider = Annotated[
    str,
    shaped(_DECIDER, "a Slack user or group id, such as U0123ABC or S0123ABC, or api:<token name>"),
]
Approver = Annotated[
    str,
    shaped(
        rf"{_DECIDER}|role:{TOKEN_NAME}",
        "a Slack user or group id, such as U0123ABC or S0123ABC, api:<token name> or role:<name>",
    ),
]
RoleName = Annotated[
    str, shaped(TOKEN_NAME, "a role's name: lower case letters, digits, _ and -, beginning with a letter")
]
ToolPattern = Annotated[
    str, shaped(r"[A-Za-z0-9_.*?!\[\]-]{1,64}", "a tool's name, or a pattern with *, ? or [...]")
]
ChannelId = Annotated[
    str, shaped(r"[CGD][A-Z0-9]{2,}|", "a Slack channel id, such as C0123ABC, not its name")
]
TeamId = Annotated[str, shaped(r"[TE][A-Z0-9]{2,}", "a Slack workspace id, such as T0123ABC")]
AppId = Annotated[str, shaped(r"A[A-Z0-9]{2,}|", "a Slack app id, such as A0123ABC")]
EventName = Annotated[
    str, shaped(r"[a-z_]{1,64}\.[a-z_]{1,64}", "an event's name, such as interaction.completed")
]
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT: Final = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
PLACE: Final = rf"{_LABEL}(?:\.{_LABEL})*(?::(?:{_PORT}))?"
"""A host, and a port from 1 to 65535 where one is said."""
HostName = Annotated[str, shaped(PLACE, "a host name, with :port where needed")]


def _listened_at(text: str) -> str:
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return text
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise ValueError("must be an IP address or a host name")
    return text


ListenAddress = Annotated[str, AfterValidator(_listened_at)]
TokenName = Annotated[str, shaped(TOKEN_NAME, "lower case letters, digits, _ and -, beginning with a letter")]
ModuleName = Annotated[str, shaped(r"[a-z_][a-z0-9_]*", "a module name: lower case letters, digits and _")]
ToolName = Annotated[str, shaped(r"[A-Za-z_][A-Za-z0-9_]{0,63}", "a tool's name: letters, digits and _")]
WorkflowName = Annotated[
    str, shaped(r"[a-z][a-z0-9_-]{0,63}", "a workflow's name: lower case letters, digits, _ and -")
]
