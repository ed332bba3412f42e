"""What people ask back about a request, and what they are told: messages and windows."""

from datetime import timedelta
from typing import Final

from bench.scene import Scene, Scenes
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Edits, Inquiry
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.model import Outcome
from orchestrator.domain.values import replace
from orchestrator.slack import asking_back, modals
from tests.support.slack_cards import ALICE, NO, NOW, YES, C, K, S, card, decided, on, under

DANA: Final = Actor("U0DANA", "dana", "slack")
BOB: Final = Actor("U0BOB", "bob", "slack")
ARGUMENTS: Final = {"order_id": "A-1042", "amount": "89.90", "reason": "It arrived broken."}
WHY: Final = "Why all of it? The label says *two* parcels,\nand only one came back: <@U0BOB> counted."
SAID: Final = "The second one was lost on its way back. The carrier has confirmed that.\nClaim 77-104."
OTHER: Final = "Has the customer seen that it takes a week?"
OPEN: Final = Inquiry(ALICE, NOW - timedelta(minutes=4), WHY)
ANSWERED: Final = replace(OPEN, answer=SAID, answered_by=DANA, answered_at=NOW - timedelta(minutes=2))
SECOND: Final = Inquiry(BOB, NOW - timedelta(minutes=1), OTHER)


def scenes() -> Scenes:
    """Each by its name."""
    return {**_messages(), **_windows()}


def asked(*questions: Inquiry, base: Card | None = None) -> Card:
    """The shop's refund, about which these were asked."""
    base = base or card(ARGUMENTS, workflow="refund")
    return on(base, lambda approval: replace(approval, questions=questions))


def _messages() -> Scenes:
    thread, direct = Telling(1), Telling(1, person=DANA.id)
    both = (thread, Telling(1, answer=True))
    done = decided(
        S.APPROVED,
        C.SETTLED,
        verdict=YES,
        started=True,
        outcome=Outcome(K.SUCCEEDED, "ok"),
        arguments=ARGUMENTS,
    )
    over = decided(S.REJECTED, C.SETTLED, verdict=NO, outcome=Outcome(K.REJECTED, "no"), arguments=ARGUMENTS)
    hidden = under(asked(OPEN), discreet=True)
    machine = replace(asked(OPEN), requester=Actor("api:shop", "shop", "api"))
    return {
        "asked back": Scene(asked(OPEN), told=(thread,), size=(1000, 1180)),
        "asked back, answered": Scene(asked(ANSWERED), told=both, size=(1000, 1500)),
        "asked back twice, one answered": Scene(
            asked(ANSWERED, SECOND), told=(thread, Telling(1, answer=True), Telling(2)), size=(1000, 1780)
        ),
        "asked back directly": Scene(asked(OPEN), told=(direct,), direct=True, viewer=DANA.id),
        "asked back directly, answered": Scene(asked(ANSWERED), told=(direct,), direct=True, viewer=DANA.id),
        "asked back, then decided": Scene(asked(OPEN, base=over), told=(thread,), size=(1000, 1280)),
        "asked back, answered and done": Scene(asked(ANSWERED, base=done), told=both, size=(1000, 1500)),
        "asked back about a discreet call": Scene(hidden, told=(thread,)),
        "asked back of a machine": Scene(machine, told=(thread,), size=(1000, 1180)),
    }


def _windows() -> Scenes:
    plain, whole = asked(), under(asked(ANSWERED, SECOND), edits=Edits.SAME)
    views = {"details": modals.details(plain, open_=True), "ask": asking_back.ask(plain)}
    history = {"details": modals.details(whole, open_=True)}
    reply = {"reply": asking_back.reply(asked(OPEN), 1)}
    said = {"reply": modals.said("Not done", "Only <@U0DANA>, who asked for this run, can answer that.")}
    many = asked(*(ANSWERED for _ in range(5)))
    return {
        "window ask": Scene(plain, ("details", "ask"), views),
        "window details with what was asked back": Scene(whole, ("details",), history, size=(1000, 1400)),
        "window details when nothing more can be asked": Scene(
            many, ("details",), {"details": modals.details(many, open_=True)}, size=(1000, 2300)
        ),
        "window reply": Scene(asked(OPEN), ("reply_1",), reply, told=(Telling(1),), viewer=DANA.id),
        "window reply empty": Scene(
            asked(OPEN),
            ("reply_1",),
            reply,
            {modals.REASON: " "},
            {modals.REASON: "Write something."},
            told=(Telling(1),),
            viewer=DANA.id,
        ),
        "window reply by somebody else": Scene(asked(OPEN), ("reply_1",), said, told=(Telling(1),)),
    }
