"""The workspace's memory: people, channels, and every message ever posted, with what it looked like before.

Plain data with no I/O; a message that was deleted or changed keeps its past, so a test can ask for it.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from orchestrator.emulator.slack.notifications import Notification, Reason, mentions
from orchestrator.emulator.slack.settings import (
    SlackChannel,
    SlackEmulatorSettings,
    SlackUser,
    SlackUserGroup,
)

Blocks = list[dict[str, Any]]

SLACKBOT: Final = "USLACKBOT"
"""Who tells a person that their command failed."""


@dataclass
class Message:
    """One message. `only_for` is the one user who sees it, for an ephemeral; `past` is oldest first.

    `typed` is what each person has put into its input blocks, which nobody else sees; `state` is the rest.
    `files` are Slack's file objects, as far as a picture of them needs.
    """

    channel: str
    ts: str
    user: str
    text: str
    blocks: Blocks
    thread_ts: str | None = None
    metadata: dict[str, Any] | None = None
    only_for: str | None = None
    broadcast: bool = False
    deleted: bool = False
    edited_ts: str | None = None
    past: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    typed: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)

    def look(self) -> dict[str, Any]:
        """What can change about it: text, blocks, metadata."""
        return copy.deepcopy({"text": self.text, "blocks": self.blocks, "metadata": self.metadata})

    def state_of(self, user: str) -> dict[str, dict[str, Any]]:
        """`state.values` as one person's client sends it."""
        mine = self.typed.get(user, {})
        return copy.deepcopy({block: {**row, **mine.get(block, {})} for block, row in self.state.items()})

    @property
    def seconds(self) -> float:
        """When it was posted, as Unix seconds."""
        return float(self.ts)


class Workspace:
    """Everything one workspace holds. Times are handed in as Slack's `ts` strings."""

    def __init__(self, settings: SlackEmulatorSettings) -> None:
        self.settings = settings
        self.users: dict[str, SlackUser] = {user.id: user for user in settings.users}
        self.channels: dict[str, SlackChannel] = {channel.id: channel for channel in settings.channels}
        self.groups: dict[str, SlackUserGroup] = {group.id: group for group in settings.user_groups}
        self.switches = replace(
            settings.switches, rate_limits=settings.rate_limits or settings.switches.rate_limits
        )
        self.messages: dict[tuple[str, str], Message] = {}
        self.notifications: list[Notification] = []
        self._last = 0

    def next_ts(self, now: float) -> str:
        """A message timestamp no other message has: seconds, a point, six digits."""
        self._last = max(int(now * 1_000_000), self._last + 1)
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"

    def channel(self, name: str, *, by_name: bool = False) -> SlackChannel | None:
        """A channel by id, or by a person's id the direct channel with them; `by_name` takes names too."""
        if name in self.channels:
            return self.channels[name]
        if name in self.users:
            return self.direct(name)
        wanted = name.removeprefix("#")
        return next((c for c in self.channels.values() if by_name and c.name == wanted), None)

    def direct(self, user: str) -> SlackChannel:
        """The direct channel between the app and one person, opened if need be."""
        channel_id = f"D{user[1:]}"
        members = frozenset({user})
        opened = SlackChannel(channel_id, self.users[user].name, is_private=True, members=members)
        return self.channels.setdefault(channel_id, opened)

    def member(self, channel: SlackChannel, user: str) -> bool:
        """Whether a person is in a channel."""
        return user in self.users and (channel.members is None or user in channel.members)

    def add(self, message: Message) -> Message:
        """Keep a new message; blocks and elements without an id get one, as in Slack."""
        message.blocks = with_ids(message.blocks, message.ts)
        message.state = initial_state(message.blocks)
        self.notifications += self._told_of(message)
        self.messages[message.channel, message.ts] = message
        return message

    def _told_of(self, message: Message) -> Iterator[Notification]:
        """A sound for each person a new message is for; only posting makes one, and never a whisper."""
        for user in self.users.values() if message.only_for is None else ():
            reason = None if user.id == message.user or user.deleted else self._reason(message, user.id)
            if reason is not None:
                yield Notification(
                    user.id, message.channel, message.ts, reason, message.text, message.seconds
                )

    def _reason(self, message: Message, user: str) -> Reason | None:
        channel = self.channels[message.channel]
        if not self.member(channel, user):
            return None
        if channel.id.startswith("D"):
            return "direct"
        named = mentions(message.text, message.blocks)
        if user in named.users:
            return "mention"
        if any(user in self.groups[g].users for g in named.groups if g in self.groups):
            return "group"
        if named.everyone:
            return "everyone"
        return "thread" if self._follows(message, user) else None

    def _follows(self, message: Message, user: str) -> bool:
        """Whether a person wrote in the thread this message goes to, or was named there by name."""
        if message.thread_ts is None:
            return False
        parent = self.find(message.channel, message.thread_ts)
        thread = [parent, *self.replies(parent)] if parent is not None else []
        return any(user == m.user or user in mentions(m.text, m.blocks).users for m in thread)

    def redraw(
        self,
        message: Message,
        *,
        text: str | None = None,
        blocks: Blocks | None = None,
        metadata: dict[str, Any] | None = None,
        edited_ts: str,
    ) -> None:
        """Change a message's look. A text without blocks takes the blocks away; metadata left out stays."""
        message.past.append(message.look())
        if text is not None or blocks is not None:
            message.text = message.text if text is None else text
            message.blocks = with_ids(blocks or [], edited_ts)
        message.metadata = message.metadata if metadata is None else metadata
        message.state, message.typed = initial_state(message.blocks), {}
        message.edited_ts = edited_ts

    def find(self, channel: str, ts: str) -> Message | None:
        """A message that is still there."""
        message = self.messages.get((channel, ts))
        return None if message is None or message.deleted else message

    def listed(self, channel: str | None = None) -> Iterator[Message]:
        """Every message ever posted in one channel or all, oldest first, deleted ones included."""
        rows = (m for m in self.messages.values() if channel is None or m.channel == channel)
        return iter(sorted(rows, key=lambda m: m.seconds))

    def shown(self, channel: str, viewer: str | None = None) -> list[Message]:
        """What is to be seen in a channel, oldest first: by the app, or by one person with their whispers."""
        return [m for m in self.listed(channel) if not m.deleted and m.only_for in (None, viewer)]

    def replies(self, parent: Message) -> list[Message]:
        """The thread below a message, oldest first, without ephemerals."""
        return [m for m in self.shown(parent.channel) if m.thread_ts == parent.ts and m.ts != parent.ts]

    def wire(self, message: Message, *, with_metadata: bool = False) -> dict[str, Any]:
        """A message as the Web API and the interactivity payloads show it."""
        made: dict[str, Any] = {
            "type": "message",
            "user": message.user,
            "bot_id": self.settings.bot_id,
            "app_id": self.settings.app_id,
            "team": self.settings.team_id,
            "ts": message.ts,
            "text": message.text,
            "blocks": copy.deepcopy(message.blocks),
        }
        if message.files:
            made["files"] = copy.deepcopy(message.files)
        if message.edited_ts and not message.blocks:  # an update with blocks shows no "edited" mark
            made["edited"] = {"user": message.user, "ts": message.edited_ts}
        if message.metadata is not None and with_metadata:
            made["metadata"] = copy.deepcopy(message.metadata)
        return made | self._thread(message)

    def _thread(self, message: Message) -> dict[str, Any]:
        if message.thread_ts is not None:
            extra = {"subtype": "thread_broadcast"} if message.broadcast else {}
            return {"thread_ts": message.thread_ts, **extra}
        replies = self.replies(message)
        if not replies:
            return {}
        return {"thread_ts": message.ts, "reply_count": len(replies), "latest_reply": replies[-1].ts}


def with_ids(blocks: Blocks, seed: str) -> Blocks:
    """A copy of some blocks in which every block and interactive element has an id of its own."""
    made = copy.deepcopy(blocks)
    for index, block in enumerate(every_block(made)):
        block.setdefault("block_id", f"b{index}.{seed}")
        for number, element in enumerate(interactive(block)):
            element.setdefault("action_id", f"a{index}.{number}.{seed}")
    return made


def every_block(blocks: Blocks) -> Iterator[dict[str, Any]]:
    """Some blocks and those inside them."""
    for block in blocks:
        yield block
        yield from every_block(block.get("child_blocks") or [])


def interactive(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The elements of a block a person can use, in order."""
    if block.get("type") in ("actions", "context_actions"):
        yield from block["elements"]
    for key in ("accessory", "element"):
        one = block.get(key)
        if one is not None and one.get("type") != "image":
            yield one


STATELESS = frozenset({"button", "overflow", "icon_button", "feedback_buttons"})
FIRST_VALUES: Mapping[str, str] = {
    "value": "initial_value",
    "selected_option": "initial_option",
    "selected_options": "initial_options",
    "selected_user": "initial_user",
    "selected_users": "initial_users",
    "selected_conversation": "initial_conversation",
    "selected_conversations": "initial_conversations",
    "selected_channel": "initial_channel",
    "selected_channels": "initial_channels",
    "selected_date": "initial_date",
    "selected_time": "initial_time",
    "selected_date_time": "initial_date_time",
}


def value_key(element: Mapping[str, Any]) -> str:
    """Under which key an element's value stands in `state.values`, by the element's type."""
    kind = str(element["type"])
    if kind.endswith("_input"):
        return "value"
    if kind == "checkboxes":
        return "selected_options"
    if kind in ("datepicker", "timepicker", "datetimepicker"):
        return {"datepicker": "selected_date", "timepicker": "selected_time"}.get(kind, "selected_date_time")
    many = "s" if kind.startswith("multi_") else ""
    noun = kind.removeprefix("multi_").removesuffix("_select").removesuffix("s")
    return f"selected_{noun if noun in ('user', 'channel', 'conversation') else 'option'}{many}"


def sent_along(block: Mapping[str, Any]) -> bool:
    """Whether what is put into this block goes along with a press on a button, and causes none of its own."""
    return block.get("type") == "input" and not block.get("dispatch_action")


def initial_state(blocks: Blocks) -> dict[str, dict[str, Any]]:
    """`state.values` before anybody touched anything: every input is there, empty ones as null or []."""
    made: dict[str, dict[str, Any]] = {}
    for block in every_block(blocks):
        for element in interactive(block):
            if element["type"] not in STATELESS:
                row = made.setdefault(block["block_id"], {})
                row[element["action_id"]] = state_entry(element, _first(element))
    return made


def _first(element: Mapping[str, Any]) -> Any:
    key = value_key(element)
    empty: Any = [] if key.endswith("s") else None
    return element.get(FIRST_VALUES[key], empty)


def state_entry(element: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """One entry of `state.values`."""
    return {"type": element["type"], value_key(element): value}
