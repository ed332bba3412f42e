"""Slack's text, as HTML a person reads: mrkdwn, plain text with emoji, rich text. Everything is escaped.

Source: Slack, "Formatting text for app surfaces". Times are shown in UTC.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup, escape

from orchestrator.emulator.slack.workspace import Workspace

EMOJI: Final[Mapping[str, str]] = {
    "white_check_mark": "✅", "heavy_check_mark": "✔️", "x": "❌", "warning": "⚠️", "no_entry": "⛔",
    "hourglass": "⌛", "hourglass_flowing_sand": "⏳", "clock1": "🕐", "bell": "🔔", "rotating_light": "🚨",
    "robot_face": "🤖", "tada": "🎉", "eyes": "👀", "pencil2": "✏️", "memo": "📝", "lock": "🔒", "key": "🔑",
    "question": "❓", "exclamation": "❗", "information_source": "ℹ️", "money_with_wings": "💸",
    "rocket": "🚀", "hammer": "🔨",
    "thumbsup": "👍", "+1": "👍", "thumbsdown": "👎", "-1": "👎", "wave": "👋", "gear": "⚙️", "link": "🔗",
    "red_circle": "🔴", "large_green_circle": "🟢", "large_yellow_circle": "🟡", "large_blue_circle": "🔵",
    "stop_sign": "🛑", "point_right": "👉", "fire": "🔥", "mag": "🔍", "calendar": "📅", "arrow_right": "➡️",
}  # fmt: skip

_EMOJI = re.compile(r":([a-z0-9_+-]{1,40}):")
_FENCE = re.compile(r"```\n?(.*?)\n?```", re.DOTALL)
_SAFE_LINK = re.compile(r"(?:https?://|mailto:)[^\s]+\Z", re.IGNORECASE)
_TOKEN = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|<(?P<angle>[^<>\n]+)>"
    r"|(?<![\w*])\*(?=[^\s*])(?P<bold>(?:<[^<>\n]*>|[^*\n<])+?)(?<=\S)\*(?![\w*])"
    r"|(?<![\w_])_(?=[^\s_])(?P<italic>(?:<[^<>\n]*>|[^_\n<])+?)(?<=\S)_(?![\w_])"
    r"|(?<![\w~])~(?=[^\s~])(?P<strike>(?:<[^<>\n]*>|[^~\n<])+?)(?<=\S)~(?![\w~])"
    r"|:(?P<emoji>[a-z0-9_+-]{1,40}):"
    r"|(?P<bare>https?://[^\s<>|*`]+)"
)
_DATE_PART = re.compile(r"\{(\w+)\}")
_DATE_FORMATS: Final[Mapping[str, str]] = {
    "date_num": "%Y-%m-%d",
    "date": "%B %-d, %Y",
    "date_pretty": "%B %-d, %Y",
    "date_short": "%b %-d, %Y",
    "date_short_pretty": "%b %-d, %Y",
    "date_long": "%A, %B %-d, %Y",
    "date_long_pretty": "%A, %B %-d, %Y",
    "time": "%H:%M UTC",
    "time_secs": "%H:%M:%S UTC",
    "ago": "%Y-%m-%d %H:%M UTC",
}


def moment(unix_seconds: float, shape: str = "%H:%M:%S UTC") -> str:
    """A Unix time in words."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime(shape)


def slack_date(timestamp: float, shape: str, fallback: str) -> str:
    """What a date mark shows; an unknown placeholder, or a year out of range, shows the fallback."""
    parts = _DATE_PART.findall(shape)
    if not parts or set(parts) - _DATE_FORMATS.keys():
        return fallback
    try:
        return _DATE_PART.sub(lambda found: moment(timestamp, _DATE_FORMATS[found[1]]), shape)
    except (ValueError, OverflowError, OSError):
        return fallback


def unescape(text: str) -> str:
    """mrkdwn knows three entities; the ampersand comes last so that `&amp;lt;` stays `&lt;`."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def plain(text: str, *, emoji: bool = True) -> Markup:
    """Text shown as it is, save for emoji names where they are on."""
    return escape(_EMOJI.sub(lambda found: EMOJI.get(found[1], found[0]), text) if emoji else text)


class Renderer:
    """Draws text with the names of one workspace's people, channels and groups."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def text(self, value: Mapping[str, Any]) -> Markup:
        """A text object."""
        if value["type"] == "mrkdwn":
            return self.mrkdwn(value["text"], verbatim=bool(value.get("verbatim")))
        return plain(value["text"], emoji=value.get("emoji", True))

    def mrkdwn(self, text: str, *, verbatim: bool = False) -> Markup:
        """Slack's markup; `verbatim` leaves bare addresses alone."""
        made = Markup()
        for index, part in enumerate(_FENCE.split(text)):
            if index % 2:
                made += Markup("<pre>{}</pre>").format(unescape(part))
            else:
                made += self._paragraphs(part.strip("\n") if index else part.rstrip("\n"), verbatim)
        return made

    def _paragraphs(self, text: str, verbatim: bool) -> Markup:
        made, quoted = Markup(), False
        for number, line in enumerate(text.split("\n")):
            bare = re.sub(r"^(?:&gt;|>) ?", "", line)
            opens = bare != line
            if opens != quoted:
                made += Markup("<blockquote>") if opens else Markup("</blockquote>")
            elif number:
                made += Markup("<br>")
            quoted = opens
            made += self._inline(bare, verbatim)
        return made + (Markup("</blockquote>") if quoted else Markup())

    def _inline(self, text: str, verbatim: bool) -> Markup:
        made, end = Markup(), 0
        for found in _TOKEN.finditer(text):
            made += escape(unescape(text[end : found.start()]))
            made += self._token(str(found.lastgroup), found[str(found.lastgroup)], found[0], verbatim)
            end = found.end()
        return made + escape(unescape(text[end:]))

    def _token(self, kind: str, inner: str, whole: str, verbatim: bool) -> Markup:
        match kind:
            case "code":
                return Markup("<code>{}</code>").format(unescape(inner))
            case "angle":
                return self._angle(inner)
            case "emoji":
                return escape(EMOJI.get(inner, whole))
            case "bare":
                return escape(unescape(whole)) if verbatim else link(unescape(whole), unescape(whole))
            case _:
                tag = {"bold": "strong", "italic": "em", "strike": "s"}[kind]
                return Markup(f"<{tag}>{{}}</{tag}>").format(self._inline(inner, verbatim))  # noqa: S704  fixed words

    def _angle(self, inner: str) -> Markup:
        """`<…>`: a mention, a special mention, a date, or a link."""
        target, _, label = inner.partition("|")
        if target.startswith("@"):
            return self.user(target[1:])
        if target.startswith("#"):
            return self.channel(target[1:], label)
        if target.startswith("!subteam^"):
            return self.group(target.removeprefix("!subteam^"), label)
        if target.startswith("!date^"):
            return _date_mark(target, label)
        if target in ("!here", "!channel", "!everyone"):
            return mention(f"@{target[1:]}", "everyone")
        if target.startswith("!"):
            return escape(unescape(label or target))
        return link(unescape(target), unescape(label or target), whole=f"<{unescape(inner)}>")

    def user(self, user_id: str) -> Markup:
        """A mention of a person."""
        person = self._workspace.users.get(user_id)
        app = self._workspace.settings
        name = app.app_name if user_id == app.bot_user_id else person.display_name if person else user_id
        return mention(f"@{name}")

    def channel(self, channel_id: str, label: str = "") -> Markup:
        """A mention of a channel."""
        channel = self._workspace.channels.get(channel_id)
        return mention(f"#{channel.name if channel else unescape(label) or channel_id}")

    def group(self, group_id: str, label: str = "") -> Markup:
        """A mention of a user group."""
        group = self._workspace.groups.get(group_id)
        name = group.handle if group else unescape(label).lstrip("@") or group_id
        return mention(f"@{name}")

    def inline(self, elements: Iterable[Mapping[str, Any]]) -> Markup:
        """The inside of one part of a rich text block."""
        return Markup().join(styled(self._rich(one), one.get("style") or {}) for one in elements)

    def _rich(self, one: Mapping[str, Any]) -> Markup:
        match one["type"]:
            case "text":
                return escape(one["text"])
            case "link":
                return link(one["url"], one.get("text") or one["url"])
            case "emoji":
                return escape(EMOJI.get(one["name"], f":{one['name']}:"))
            case "user":
                return self.user(one["user_id"])
            case "channel":
                return self.channel(one["channel_id"])
            case "usergroup":
                return self.group(one["usergroup_id"])
            case "broadcast":
                return mention(f"@{one['range']}", "everyone")
            case "date":
                fallback = str(one.get("fallback") or one["timestamp"])
                return escape(slack_date(one["timestamp"], one["format"], fallback))
            case _:
                return escape(one.get("value") or one.get("team_id") or "")


def mention(name: str, kind: str = "person") -> Markup:
    """A highlighted name."""
    return Markup('<span class="mention {}">{}</span>').format(kind, name)


def link(target: str, label: str, *, whole: str | None = None) -> Markup:
    """A link to an http, https or mailto address; anything else stays text."""
    if not _SAFE_LINK.match(target):
        return escape(whole if whole is not None else label)
    return Markup('<a href="{}" rel="noopener noreferrer" target="_blank">{}</a>').format(target, label)


def styled(inner: Markup, style: Mapping[str, Any]) -> Markup:
    """Rich text styles around something already drawn."""
    for name, tag in (
        ("code", "code"),
        ("strike", "s"),
        ("italic", "em"),
        ("bold", "strong"),
        ("underline", "u"),
    ):
        if style.get(name):
            inner = Markup(f"<{tag}>{{}}</{tag}>").format(inner)  # noqa: S704  fixed words
    return inner


def _date_mark(target: str, fallback: str) -> Markup:
    """`!date^seconds^shape^link`, the link being optional."""
    parts = target.split("^")
    stamp, shape = (parts[1], parts[2]) if len(parts) > 2 else ("", "")
    words = (
        slack_date(int(stamp), unescape(shape), unescape(fallback))
        if stamp.isdecimal()
        else unescape(fallback)
    )
    return link(unescape(parts[3]), words) if len(parts) > 3 else escape(words)
