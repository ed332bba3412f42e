"""Slack's Web API methods, as far as an app for approvals needs them. No HTTP in this file.

Each method takes the call's arguments and gives the answer's fields, or raises `Refused` with Slack's error.
Source: Slack, Web API reference, one page per method.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.emulator.slack.arguments import (
    Args,
    between,
    checked_blocks,
    checked_metadata,
    checked_text,
    count,
    decoded,
    is_true,
    lines,
)
from orchestrator.emulator.slack.settings import SlackChannel, Switches
from orchestrator.emulator.slack.shapes import Fault
from orchestrator.emulator.slack.tickets import Refused, Tickets
from orchestrator.emulator.slack.validation import validate_blocks, validate_view
from orchestrator.emulator.slack.views import View, Views
from orchestrator.emulator.slack.workspace import Message, Workspace

Answer = dict[str, Any]

POSTED_TEXT: Final = 40_000
"""Characters after which a posted text is cut."""
UPDATED_TEXT_BYTES: Final = 4_000
HISTORY_LIMIT: Final = 999
LIMITED_HISTORY: Final = 15


class WebApi:
    """The methods over one workspace. `clock` gives Unix seconds; `base_url` this server's address.

    `more` are methods whose home is elsewhere: people and groups, sockets.
    """

    def __init__(
        self,
        workspace: Workspace,
        views: Views,
        tickets: Tickets,
        clock: Callable[[], float],
        base_url: Callable[[], str],
        more: Mapping[str, Callable[[Args], Answer]],
    ) -> None:
        self._workspace = workspace
        self._views = views
        self._tickets = tickets
        self._clock = clock
        self._base_url = base_url
        self._methods: dict[str, Callable[[Args], Answer]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.postEphemeral": self._post_ephemeral,
            "chat.delete": self._delete,
            "chat.getPermalink": self._permalink,
            "conversations.info": self._info,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "conversations.open": self._open_direct,
            "views.open": self._view_open,
            "views.push": self._view_push,
            "views.update": self._view_update,
            "views.publish": self._view_publish,
            "blocks.validate": self._validate,
            **more,
        }

    def call(self, method: str, args: Args) -> Answer:
        """The answer's fields without `ok`.

        Raises:
            Refused: Slack's `error` code for this call.
        """
        if method not in self._methods:
            raise Refused("unknown_method", req_method=method)
        return self._methods[method](args)

    def _auth_test(self, args: Args) -> Answer:
        settings = self._workspace.settings
        return {
            "url": f"{self._base_url()}/",
            "team": settings.team_domain,
            "user": settings.app_name.lower(),
            "team_id": settings.team_id,
            "user_id": settings.bot_user_id,
            "bot_id": settings.bot_id,
            "is_enterprise_install": False,
        }

    def _post(self, args: Args) -> Answer:
        channel = self._writable(args, by_name=True, posting=True)
        message = self._new_message(args, channel, text_limit=POSTED_TEXT)
        self._workspace.add(message)
        return self._posted(message)

    def _posted(self, message: Message) -> Answer:
        wired = self._workspace.wire(message, with_metadata=True)
        return {"channel": message.channel, "ts": message.ts, "message": wired}

    def _new_message(self, args: Args, channel: SlackChannel, *, text_limit: int) -> Message:
        blocks = checked_blocks(args)
        text = checked_text(args)
        if not text and not blocks:
            raise Refused("no_text")
        return Message(
            channel=channel.id,
            ts=self._workspace.next_ts(self._clock()),
            user=self._workspace.settings.bot_user_id,
            text=text[:text_limit],
            blocks=blocks or [],
            thread_ts=self._thread(args, channel),
            metadata=self._metadata(args),
            broadcast=is_true(args.get("reply_broadcast")),
        )

    def _metadata(self, args: Args) -> dict[str, Any] | None:
        metadata = checked_metadata(args)
        if metadata is not None and not self._switches.metadata:
            raise Refused("metadata_must_be_sent_from_app")
        return metadata

    @property
    def _switches(self) -> Switches:
        return self._workspace.switches

    def _thread(self, args: Args, channel: SlackChannel) -> str | None:
        """Only a message's own `ts` starts or continues a thread; a number has lost its last digits."""
        thread_ts = args.get("thread_ts")
        if thread_ts is None:
            return None
        parent = self._workspace.find(channel.id, thread_ts) if isinstance(thread_ts, str) else None
        if parent is None:
            raise Refused("thread_not_found")
        if parent.thread_ts is not None or parent.only_for is not None:
            raise Refused("cannot_reply_to_message")
        return parent.ts

    def _update(self, args: Args) -> Answer:
        channel = self._writable(args)
        message = self._own(args, channel, "cant_update_message")
        if message.only_for is not None:
            raise Refused("message_not_found")  # ephemerals cannot be changed this way
        blocks, text = checked_blocks(args), checked_text(args)
        if not text and blocks is None and args.get("metadata") is None:
            raise Refused("no_text")
        if len(text.encode("utf-8", "surrogatepass")) > UPDATED_TEXT_BYTES:
            raise Refused("msg_too_long")
        self._workspace.redraw(
            message,
            text=text if args.get("text") is not None else None,
            blocks=blocks,
            metadata=self._metadata(args),
            edited_ts=self._workspace.next_ts(self._clock()),
        )
        return {**self._posted(message), "text": message.text}

    def _own(self, args: Args, channel: SlackChannel, refusal: str) -> Message:
        message = self._workspace.find(channel.id, str(args.get("ts")))
        if message is None:
            raise Refused("message_not_found")
        if message.user != self._workspace.settings.bot_user_id:
            raise Refused(refusal)
        return message

    def _post_ephemeral(self, args: Args) -> Answer:
        channel = self._writable(args, by_name=True)
        user = str(args.get("user"))
        if not self._workspace.member(channel, user):
            raise Refused("user_not_in_channel")
        message = self._new_message(args, channel, text_limit=POSTED_TEXT)
        message.only_for = user
        self._workspace.add(message)
        return {"message_ts": message.ts}

    def _delete(self, args: Args) -> Answer:
        channel = self._writable(args)
        message = self._own(args, channel, "cant_delete_message")
        if message.only_for is not None:
            raise Refused("message_not_found")
        message.deleted = True
        return {"channel": channel.id, "ts": message.ts}

    def _permalink(self, args: Args) -> Answer:
        channel = self._channel(args)
        message = self._workspace.find(channel.id, str(args.get("message_ts")))
        if message is None:
            raise Refused("message_not_found")
        anchor = f"p{message.ts.replace('.', '')}"
        return {"channel": channel.id, "permalink": f"{self._base_url()}/?channel={channel.id}#{anchor}"}

    def _channel(self, args: Args, *, by_name: bool = False) -> SlackChannel:
        channel = self._workspace.channel(str(args.get("channel", "")), by_name=by_name)
        if channel is None:
            raise Refused("channel_not_found")
        return channel

    def _writable(self, args: Args, *, by_name: bool = False, posting: bool = False) -> SlackChannel:
        channel = self._channel(args, by_name=by_name)
        if channel.is_archived:
            raise Refused("is_archived")
        if channel.id.startswith("D") and not self._switches.messages_tab:
            raise Refused("messages_tab_disabled")
        anywhere = posting and not channel.is_private and "chat:write.public" in self._switches.scopes
        if not channel.bot_is_member and not anywhere:
            raise Refused("channel_not_found" if channel.is_private else "not_in_channel")
        return channel

    def _info(self, args: Args) -> Answer:
        channel = self._channel(args)
        direct = channel.id.startswith("D")
        shape = {
            "id": channel.id,
            "is_channel": not direct and not channel.is_private,
            "is_group": not direct and channel.is_private,
            "is_im": direct,
            "is_private": channel.is_private,
            "is_archived": channel.is_archived,
            "is_member": channel.bot_is_member,
            "context_team_id": self._workspace.settings.team_id,
        }
        return {"channel": shape if direct else {**shape, "name": channel.name}}

    def _history(self, args: Args) -> Answer:
        channel = self._readable(args)
        rows = self._workspace.shown(channel.id)
        top = [m for m in rows if m.thread_ts in (None, m.ts) or m.broadcast]
        return self._page([m for m in reversed(top) if between(m, args)], args, 100)

    def _replies(self, args: Args) -> Answer:
        channel = self._readable(args)
        found = self._workspace.find(channel.id, str(args.get("ts")))
        if found is None:
            raise Refused("thread_not_found")
        parent = self._workspace.find(channel.id, found.thread_ts) if found.thread_ts else found
        rows = [parent, *self._workspace.replies(parent)] if parent else [found]
        return self._page([m for m in rows if m is parent or between(m, args)], args, 1000)

    def _readable(self, args: Args) -> SlackChannel:
        channel = self._channel(args)
        if not channel.bot_is_member:
            raise Refused("not_in_channel")
        return channel

    def _page(self, rows: list[Message], args: Args, usual: int) -> Answer:
        """One page of messages; the cursor is how many came before it."""
        most = LIMITED_HISTORY if self._switches.history_limited else HISTORY_LIMIT
        limit = min(max(count(args, "limit", usual), 1), most)
        start = count(args, "cursor", 0)
        told = is_true(args.get("include_all_metadata"))
        shown = [self._workspace.wire(m, with_metadata=told) for m in rows[start : start + limit]]
        more = len(rows) > start + limit
        cursor = {"response_metadata": {"next_cursor": str(start + limit)}} if more else {}
        return {"messages": shown, "has_more": more, **cursor}

    def _open_direct(self, args: Args) -> Answer:
        users = args.get("users") or ""
        names = users.split(",") if isinstance(users, str) else list(users)
        if args.get("channel"):
            return {"channel": {"id": self._channel(args).id}}
        if len(names) != 1:
            raise Refused("users_list_not_supplied" if not names else "too_many_users")
        person = self._workspace.users.get(names[0])
        if person is None:
            raise Refused("user_not_found" if names[0] else "users_list_not_supplied")
        if person.deleted:
            raise Refused("user_disabled")
        return {"channel": {"id": self._workspace.direct(person.id).id}}

    def _view_open(self, args: Args) -> Answer:
        user = self._tickets.use_trigger(args.get("trigger_id"))
        return self._shown(self._views.open(user, decoded(args.get("view"), "invalid_arguments")))

    def _view_push(self, args: Args) -> Answer:
        user = self._tickets.use_trigger(args.get("trigger_id"))
        if not self._views.stack(user):
            raise Refused("invalid_trigger_id")  # nothing is open to push onto
        definition = decoded(args.get("view"), "invalid_arguments")
        return self._shown(self._views.open(user, definition, push=True))

    def _view_update(self, args: Args) -> Answer:
        view = self._views.find(args.get("view_id"), args.get("external_id"))
        definition = decoded(args.get("view"), "invalid_arguments")
        return self._shown(self._views.redraw(view, definition, expected_hash=args.get("hash")))

    def _view_publish(self, args: Args) -> Answer:
        user = str(args.get("user_id"))
        if not self._switches.home_tab:
            raise Refused("not_enabled")
        if user not in self._workspace.users:
            raise Refused("user_not_found")
        definition = decoded(args.get("view"), "invalid_arguments")
        return self._shown(self._views.publish(user, definition, expected_hash=args.get("hash")))

    def _shown(self, view: View) -> Answer:
        return {"view": self._views.wire(view)}

    def _validate(self, args: Args) -> Answer:
        """Unlike posting, this names `code`, `message` and `pointer` of every fault apart."""
        given = [key for key in ("blocks", "message", "view") if args.get(key) is not None]
        if len(given) != 1:
            raise Refused("invalid_arguments")
        value = decoded(args[given[0]], f"invalid_{given[0]}")
        faults = _faults_of(given[0], value)
        if faults:
            rows = [{"pointer": f.pointer, "code": "failed_constraint", "message": f.message} for f in faults]
            raise Refused(f"invalid_{given[0]}", errors=rows, response_metadata=lines(faults))
        return {}


def _faults_of(kind: str, value: Any) -> tuple[Fault, ...]:
    if kind == "view":
        return validate_view(value, "", kinds=("modal", "home"))
    if kind == "message":
        blocks = value.get("blocks") if isinstance(value, dict) else None
        return validate_blocks(blocks if blocks is not None else [])
    return validate_blocks(value, at="")
