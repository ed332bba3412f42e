"""What people did in Slack, as values: a button pressed, a window sent off, something else. No I/O.

All of it is checked for shape only: whether that person may decide, and whether the question is still open,
is not asked here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from orchestrator.slack.looks import Look

NOTE: Final = "note"
"""Block (before revision and state) and element of the field in which people say what to change."""
NOTE_CHARS: Final = 1_000
"""Most characters of such a note."""
MOST_TOGETHER: Final = 20
"""Questions that one window answers in one go."""
MOST_BUTTONS: Final = 5
"""Choices of a question that get a button each."""

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


class ShownQuestion(NamedTuple):
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
    others: tuple[ShownQuestion, ...] = ()
    number: int = 0

    @property
    def shown(self) -> tuple[ShownQuestion, ...]:
        """Every question it is about, as it was shown."""
        return ShownQuestion(self.approval, self.revision, self.digest_prefix), *self.others


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A shortcut of ours was used, on a message or from anywhere. Checked for shape only.

    Fields as in `Click`.

    Args:
        channel: Of the message; empty for one that is used from anywhere.
        ts: Of the message: any message at all, of anybody.
    """

    user_id: str
    user_name: str
    team_id: str
    user_team_id: str
    app_id: str
    trigger_id: str
    channel: str = ""
    ts: str = ""
    response_url: str = ""
    is_bot: bool = False

    def on(self, shown: ShownQuestion) -> Click:
        """What is done about a message that shows that question: as if Details were pressed."""
        return Click(
            kind="details",
            approval=shown.approval,
            revision=shown.revision,
            digest_prefix=shown.digest_prefix,
            user_id=self.user_id,
            user_name=self.user_name,
            team_id=self.team_id,
            user_team_id=self.user_team_id,
            app_id=self.app_id,
            channel=self.channel,
            ts=self.ts,
            response_url=self.response_url,
            trigger_id=self.trigger_id,
            is_bot=self.is_bot,
        )


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
    return f"{NOTE}:{revision}:{Look.PENDING}"
