"""A question in a window of its own: all of its arguments, a reason, a form. No I/O.

As on a card, nothing can be approved beside what is not wholly shown, and a view is only a picture: it
carries the question's id, revision and the beginning of its digest; all is checked again when it is sent.

    details ── Approve ──► decided          submit stands only below the complete arguments
       ├────── Edit…, Reject… (pushed on top)
    edit ──── Approve, or Propose where somebody else has to approve
    reject ── Reject, with a reason

Source: Slack, "Modals", "Block Kit" reference (limits of a view).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.domain import choosing
from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Edits
from orchestrator.domain.human import is_question
from orchestrator.domain.inquiries import askable
from orchestrator.domain.pipeline import step_of
from orchestrator.slack import edits, human, inquiries, kit, pages
from orchestrator.slack.action import NOTE_CHARS
from orchestrator.slack.arguments import label, seen
from orchestrator.slack.excerpts import FIRST_PART
from orchestrator.slack.forms import Form
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import approval_step
from orchestrator.slack.text import escape, line
from orchestrator.slack.wording import ONE_OF_SEVERAL, is_last, wording

View = dict[str, Any]

REASON: Final = "reason"
"""Block and element of the field for a reason or a note."""
AGAIN: Final = "Make it anew…"
"""On the button that asks for other files than those shown."""
STOP: Final = "stop"
"""Block and element of the box by which a rejection stops the run."""
_FOR_ASKED: Final = 40_000  # of a view's bytes, at least, for what was asked back
_BYTES_EACH: Final = 6  # that one unit of text takes at most as JSON
_ASKED_UNITS: Final = 30_000


def button_value(card: Card) -> str:
    """What a button and a window say about their question: its id, revision, and the start of its digest."""
    approval = card.approval
    return f"{approval.id}|{approval.revision}|{approval.digest[:16]}"


def details(card: Card, *, open_: bool, past: Sequence[Block] = ()) -> View:
    """Everything about a call.

    Args:
        open_: It can still be decided; otherwise there is nothing to press.
        past: What has become of it so far, as `past` tells that.
    """
    if is_question(card.call):
        return _question(card, past, open_=open_)
    shown, would = seen(card), pages.would(card)
    whole_text = pages.of(shown, would, label(card)) if shown.whole else None
    blocks = [
        *_head(card),
        *(whole_text or [*would[:1], pages.too_long(shown, label(card), open_=open_)]),
        *pages.notes(shown),
    ]
    changed = [*edits.who(card), *edits.seen(card, FIRST_PART)]
    blocks += [*changed, *_asked_back(card, [*(whole_text or []), *changed, *past]), *past, _seal(card)]
    if not open_ or is_own(card.call):
        return _view("details", "Details", blocks, card)
    blocks.append(_more(card))
    if whole_text is None:
        return _view("details", "Details", blocks, card)
    blocks.append(kit.sentence("sure", _sure(card)))
    return _view("details", "Details", blocks, card, submit=wording(card).approve)


def _sure(card: Card) -> str:
    """What a yes does, at the end of everything that is to be seen."""
    if approval_step(card):
        now, then, what = "Approve lets the workflow go on", "the workflow goes on", "facts"
    else:
        now, then, what = "Approve runs it now", "it runs", "arguments"
    shown = f"with the {what} shown here."
    return f"{now} {shown}" if is_last(card) else f"{ONE_OF_SEVERAL} With the last of them {then}, {shown}"


def whole(card: Card) -> list[Block]:
    """All of one call for a window about several: what it would do, its arguments, its seal."""
    return [*pages.written(card, pages.would(card)), _seal(card)]


def _question(card: Card, past: Sequence[Block], *, open_: bool) -> View:
    """What the agent asks; it is answered in a window of its own."""
    blocks = [*_head(card), _asked(card), *_asked_back(card, [*past]), *past, _seal(card)]
    blocks += [_more(card)] if open_ else []
    return _view("details", "The question", blocks, card)


def _asked_back(card: Card, beside: list[Block]) -> list[Block]:
    """What was asked of whoever asked for the run, as far as a window has room for it beside the rest."""
    left = pages.MOST_BYTES + _FOR_ASKED - len(json.dumps(beside))
    return inquiries.history(card, min(_ASKED_UNITS, left // _BYTES_EACH)) if card.approval.questions else []


def _asked(card: Card) -> Block:
    return {"type": "rich_text", "block_id": "q", "elements": human.parts(card.call, human.ASKED)[0]}


def answer(card: Card, form: Form) -> View:
    """Where somebody answers: what the agent asks, or in the place of a tool."""
    if is_question(card.call):
        follows = "The agent is given your answer, not your name."
        if step_of(card.call.call_id):
            follows = "The workflow goes on with your answer; your name is on record."
        about = [_asked(card)]
    else:
        about = pages.written(card, [])
        spoken = wording(card).spoken
        follows = f"{spoken} does not run. The agent is given what you write as a person's answer instead."
    blocks = [*about, kit.sentence("about", follows), *form.blocks, _seal(card)]
    return _view("answer", "Answer", blocks, card, submit="Answer")


def again(card: Card) -> View:
    """Where somebody says what is to be different about files that are to be made anew."""
    about = kit.sentence("about", "None of these is taken. They are made anew, with your note.")
    note = typed("What should be different", "Goes along to whoever makes them.", required=True)
    return _view("again", "Make it anew", [about, note, _seal(card)], card, submit="Make it anew")


def reject(card: Card) -> View:
    """Where somebody says why not, and whether the whole run ends with it."""
    asked, in_step = is_question(card.call), step_of(card.call.call_id)
    hint = f"The agent is told that it was {'declined' if asked else 'rejected'}, and why."
    if in_step:
        hint = "Kept with the decision and with how the run ended."
    required = card.approval.terms.reason_required
    reason = typed("Reason", hint, required=required)
    about = kit.sentence("about", _refusing(card))
    word, stops = wording(card).reject, [] if in_step else [_stops()]
    return _view("reject", word, [about, reason, *stops, _seal(card)], card, submit=word)


def _refusing(card: Card) -> str:
    """What follows from a no. Where a step of the workflow asks, the run ends with it."""
    ends = " The run ends with that." if step_of(card.call.call_id) else ""
    if choosing.is_choosing(card.call):
        return f"None of them is taken.{ends}"
    if is_question(card.call):
        return "No answer is given."
    if approval_step(card):
        return f"The workflow {line(card.workflow, 80)} does not go on.{ends}"
    return f"{wording(card).spoken} does not run.{ends}"


def _stops() -> Block:
    box = {"text": kit.plain("And stop the whole run", 75), "value": STOP}
    element = {"type": "checkboxes", "action_id": STOP, "options": [box]}
    block = {"type": "input", "block_id": STOP, "optional": True, "element": element}
    return block | {"label": kit.plain("The run", 75)}


def edit(card: Card, form: Form) -> View:
    """The form with the arguments as they are now."""
    other = card.approval.terms.edits is Edits.OTHER
    anew = other or card.approval.preview is not None
    shown = seen(card)
    follows = "What you send is approved by you with these arguments; old buttons are spent."
    if other:
        follows = "What you send is put to the others as a new question: somebody else has to approve it."
    elif anew:
        follows = "It is worked out what the call would do then, and asked anew; you may approve it there."
    about = kit.sentence("about", follows)
    note = typed("Note", "Kept with the decision.", required=False)
    blocks = [about, *pages.notes(shown), *form.blocks, note, _seal(card)]
    title = "Change the arguments" if anew else "Edit and approve"
    return _view("edit", title, blocks, card, submit="Propose" if anew else "Approve")


def said(title: str, text: str) -> View:
    """Our own words to who sent a window off; `<@U…>` becomes a mention."""
    return {
        "type": "modal",
        "title": kit.plain(title, 24),
        "close": kit.plain("Close", 24),
        "blocks": [kit.spoken("said", text)],
    }


def _view(kind: str, title: str, blocks: list[Block], card: Card, *, submit: str = "") -> View:
    view: View = {
        "type": "modal",
        "callback_id": kind,
        "private_metadata": button_value(card),
        "title": kit.plain(title, 24),
        "close": kit.plain("Close" if not submit else "Go back", 24),
        "blocks": blocks,
    }
    return view | ({"submit": kit.plain(submit, 24)} if submit else {})


# --- what stands in them ---------------------------------------------------------------------------------


def _head(card: Card) -> list[Block]:
    step = approval_step(card)
    named = [kit.fact("Step", step)] if step else [kit.fact("Tool", card.call.tool)]
    fields = [
        *([] if is_question(card.call) else named),
        kit.fact("Workflow", card.workflow),
        kit.fact("Run", card.run_id),
        kit.person("Asked for by", card.requester),
    ]
    if card.approval.terms.risk:
        fields.append(kit.fact("Risk", card.approval.terms.risk))
    head: list[Block] = [{"type": "section", "block_id": "m", "fields": fields}]
    if card.description and not (step or is_question(card.call)):
        head.append(kit.sentence("d", card.description))
    return head


def _seal(card: Card) -> Block:
    approval = card.approval
    name, digest = escape(line(approval.id, 60)), escape(approval.digest[:8])
    seal = kit.mrkdwn(f"`{name}` rev {approval.revision} · sha256 `{digest}`")
    until = kit.mrkdwn(f"expires {kit.date(approval.expires_at)}")
    return {"type": "context", "block_id": "c", "elements": [until, seal] if approval.open else [seal]}


def _more(card: Card) -> Block:
    """The other answers; each opens on top of this window."""
    words, value = wording(card), button_value(card)
    buttons = []
    if human.answerable(card):
        label = "Answer…" if is_question(card.call) else "Answer instead…"
        buttons.append(kit.button("answer", label, value, f"Answer {words.spoken}"))
    if choosing.is_choosing(card.call) and choosing.again_allowed(card.call.arguments):
        buttons.append(kit.button("again", AGAIN, value, f"{AGAIN} {words.spoken}"))
    if card.approval.terms.edits is not Edits.NO:
        buttons.append(kit.button("edit", "Edit…", value, f"Edit {words.spoken}"))
    buttons.append(
        kit.button("reject_reason", f"{words.reject}…", value, f"{words.reject} {words.spoken}")
        | {"style": "danger"}
    )
    if askable(card.approval, card.requester.id):
        buttons.append(kit.button("ask", "Ask…", value, f"Ask who asked for {words.spoken}"))
    return {"type": "actions", "block_id": "more", "elements": buttons}


def typed(label: str, hint: str, *, required: bool) -> Block:
    field: Mapping[str, Any] = {
        "type": "plain_text_input",
        "action_id": REASON,
        "multiline": True,
        "max_length": NOTE_CHARS,
    }
    block = {"type": "input", "block_id": REASON, "optional": not required, "element": dict(field)}
    return block | {"label": kit.plain(label, 100), "hint": kit.plain(hint, 150)}
