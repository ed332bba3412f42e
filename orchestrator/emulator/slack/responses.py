"""What an app says back to a person: through a response address, or in the answer to a slash command."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.emulator.slack.arguments import checked_blocks
from orchestrator.emulator.slack.tickets import Refused, Ticket, Tickets
from orchestrator.emulator.slack.workspace import Message, Workspace


class Responses:
    """Turns such words into messages. `clock` gives Unix seconds."""

    def __init__(self, workspace: Workspace, tickets: Tickets, clock: Callable[[], float]) -> None:
        self._workspace = workspace
        self._tickets = tickets
        self._clock = clock

    def respond(self, secret: str, body: Mapping[str, Any]) -> None:
        """Take a post to a response address: whisper, say, replace or delete.

        Raises:
            Refused: the address is unknown, used up or too old, or the content will not do.
        """
        ticket = self._tickets.use_response(secret)
        original = self._workspace.find(str(ticket.channel), str(ticket.ts))
        if body.get("delete_original"):
            _there(original).deleted = True
        elif body.get("replace_original"):
            text, blocks = _content(body)
            edited_ts = self._workspace.next_ts(self._clock())
            self._workspace.redraw(_there(original), text=text, blocks=blocks, edited_ts=edited_ts)
        else:
            self.say(ticket, body, thread_ts=original.thread_ts if original is not None else None)

    def say(
        self,
        ticket: Ticket,
        body: Mapping[str, Any],
        *,
        thread_ts: str | None = None,
        author: str | None = None,
    ) -> Message:
        """Say something where a ticket is from: to its person alone, unless `response_type` is `in_channel`.

        Args:
            author: Who says it; None is the app.

        Raises:
            Refused: `no_text`, `invalid_blocks` and the like.
        """
        text, blocks = _content(body)
        made = Message(
            channel=str(ticket.channel),
            ts=self._workspace.next_ts(self._clock()),
            user=author or self._workspace.settings.bot_user_id,
            text=text,
            blocks=blocks or [],
            thread_ts=thread_ts,
            only_for=ticket.user if body.get("response_type") != "in_channel" else None,
        )
        return self._workspace.add(made)


def _there(original: Message | None) -> Message:
    if original is None:
        raise Refused("message_not_found")
    return original


def _content(body: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]] | None]:
    text, blocks = str(body.get("text") or ""), checked_blocks(body)
    if not text and not blocks:
        raise Refused("no_text")
    return text, blocks
