"""What people may get to see in Slack, for pictures of it: every card, every window, the Home tab."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from bench import asking, unattended
from bench.scene import Scene, numbered
from orchestrator.domain.cards import BatchCard, Card
from orchestrator.domain.consent import Actor, AtTimeout, Edits, Place, Preview, Stage, Vote
from orchestrator.domain.deadlines import OVERDUE
from orchestrator.domain.edits import Edited
from orchestrator.domain.human import ASK_HUMAN
from orchestrator.domain.model import Outcome, RunStatus
from orchestrator.domain.values import replace
from orchestrator.slack import batches, forms, home, human, modals
from orchestrator.toolkit.preview import encode
from tests.support.slack_cards import (
    ALICE,
    NO,
    NOW,
    YES,
    C,
    K,
    S,
    card,
    decided,
    on,
    own_states,
    states,
    under,
)
from tools.orders import preview_refund

REFUND: Final[dict[str, Any]] = {"order_id": "A-1042", "amount": "89.90", "reason": "It arrived broken."}
WOULD: Final = encode(preview_refund("A-1042", Decimal("89.90")))
WAS: Final = WOULD.replace("delivered", "in transit")
SCHEMA: Final[dict[str, Any]] = {
    "properties": {
        "order_id": {"type": "string", "description": "The shop's order number."},
        "amount": {"type": "string", "description": "How much to give back."},
        "reason": {"type": "string", "description": "For the customer."},
    },
    "required": ["order_id", "amount"],
}


def refund(base: Card | None = None, preview: Preview | None = None, **terms: Any) -> Card:
    """The shop's refund, under these terms."""
    base = under(base or card(REFUND, workflow="refund"), **terms)
    return on(base, lambda approval: replace(approval, preview=preview))


def whole_refund() -> Card:
    """With its preview and every way to answer."""
    return refund(preview=Preview(WOULD), edits=Edits.SAME, risk="Money leaves the account.")


def question(**arguments: Any) -> Card:
    """What the agent asks a person."""
    base = card({"question": "Which carrier takes it back?", "why": "The label names none.", **arguments})
    return replace(base, call=replace(base.call, tool=ASK_HUMAN), description="", workflow="refund")


def scenes() -> dict[str, Scene]:
    """Every scene by the name of its picture."""
    plain = {f"card {name}": Scene(shown) for name, shown in {**states(), **own_states()}.items()}
    ours = plain | _terms() | _windows() | _questions() | _several()
    return ours | asking.scenes() | unattended.scenes()


def _terms() -> dict[str, Scene]:
    """The pending card under terms of its own, and what they lead to."""
    stages = (Stage("risk", ("U0ALICE", "U0BOB"), 2), Stage("legal", ("S0APPROVERS",), 1))
    half = refund(stages=stages)
    half = replace(half, approval=replace(half.approval, votes=(Vote(ALICE, NOW, 0),)))
    escalates = refund(at_timeout=AtTimeout.ESCALATE, escalate_to=("U0BOB",))
    done = decided(S.APPROVED, C.SETTLED, verdict=YES, started=True, arguments=REFUND)
    changed = replace(done, call=replace(done.call, outcome=None, status=C.READY))
    edited = Edited({**REFUND, "amount": "120.00", "note": "urgent"}, (ALICE,), NOW - timedelta(minutes=4))
    anew = replace(refund(edits=Edits.OTHER), edited=edited)
    late = replace(card(REFUND), forgotten_at=NOW + timedelta(days=2), progress="1 of 3 calls are settled")
    return {
        "refund": Scene(whole_refund(), size=(1000, 740)),
        "refund preview failed": Scene(refund(preview=Preview("", "The shop did not answer."))),
        "refund preview changed": Scene(refund(preview=Preview(WOULD, before=WAS))),
        "refund preview approved": Scene(refund(changed, Preview(WOULD))),
        "refund edited, asked anew": Scene(on(anew, lambda a: replace(a, revision=2))),
        "refund edited and approved": Scene(
            on(replace(changed, edited=edited), lambda a: replace(a, revision=2))
        ),
        "refund edited, details": Scene(anew, ("details",), {"details": modals.details(anew, open_=True)}),
        "refund stages, first yes": Scene(half),
        "refund discreet": Scene(refund(discreet=True)),
        "refund answers and edits by others": Scene(refund(edits=Edits.OTHER, answers=True)),
        "refund rejected before": Scene(replace(refund(), rejected_before=NO, rejections=2)),
        "refund with a deadline at Gemini": Scene(late),
        "refund long arguments": Scene(card({"text": "A long letter. " * 1200}), size=(1000, 1400)),
        "refund deceptive letters": Scene(card({"to": "p\u0430ypal", "note": "\u202egnp.exe\u200b"})),
        "refund confirm": Scene(whole_refund(), confirm="approve", size=(1000, 560)),
        "refund as a direct message": Scene(whole_refund(), direct=True),
        "notice reminder": Scene(refund(), remind="1"),
        "notice reminder of several": Scene(
            refund(), remind="1", reminded_with=tuple(numbered(n, refund()) for n in (2, 3))
        ),
        "notice overdue": Scene(escalates, remind=OVERDUE),
    }


def _windows() -> dict[str, Scene]:
    """Every window about one call."""
    asked = whole_refund()
    more = refund(preview=Preview(WOULD), edits=Edits.OTHER, answers=True, reason_required=True)
    form = _form(forms.form(SCHEMA, REFUND))
    instead = modals.answer(more, _form(human.form(more.call)))
    views = {
        "details": modals.details(asked, open_=True),
        "edit": modals.edit(asked, form),
        "reject_reason": modals.reject(asked),
    }
    wrong = form.placed([("amount", "must be at most 89.90")], "")
    done = states()["done"]
    opened = {"details": modals.details(more, open_=True), "answer": instead, "edit": modals.edit(more, form)}
    hidden = refund(discreet=True)
    amount = next(b["block_id"] for b in form.blocks if "amount" in b["label"]["text"].lower())
    return {
        "window details": Scene(asked, ("details",), views),
        "window details of what is over": Scene(
            refund(done, discreet=True), ("details",), {"details": modals.details(done, open_=False)}
        ),
        "window details of a discreet call": Scene(
            hidden, ("details",), {"details": modals.details(hidden, open_=True)}
        ),
        "window reject": Scene(asked, ("reject_reason",), views),
        "window reject with a reason": Scene(
            more, ("reject_reason",), {"reject_reason": modals.reject(more)}
        ),
        "window edit": Scene(asked, ("edit",), views),
        "window edit on top of the details": Scene(asked, ("details", "edit"), views),
        "window edit with an error": Scene(asked, ("edit",), views, submit={amount: "100.00"}, errors=wrong),
        "window edit for others": Scene(more, ("edit",), opened),
        "window answer instead": Scene(more, ("answer",), opened),
        "window said": Scene(
            asked, ("details",), {"details": modals.said("Not recorded", "Already approved by <@U0BOB>.")}
        ),
        "home": Scene(
            asked,
            home=home.home(
                [home.HomeEntry(asked), home.HomeEntry(hidden)], [done, states()["rejected"]], now=NOW
            ),
        ),
        "home empty": Scene(asked, home=home.home([], [], now=NOW)),
    }


def _form(made: forms.Form | None) -> forms.Form:
    if made is None:
        raise RuntimeError("it fits no form")
    return made


def _questions() -> dict[str, Scene]:
    """What the agent asks people, and where they answer."""
    choices = ["DHL", "Hermes", "DPD"]
    fields = {
        "carrier": {"type": "string", "enum": choices},
        "pickup": {"type": "string", "format": "date"},
        "parcels": {"type": "integer"},
        "insured": {"type": "boolean"},
    }
    asked = {
        "text": question(kind="text"),
        "several": question(kind="multi_choice", choices=choices),
        "many": question(kind="choice", choices=[f"Carrier {n}" for n in range(1, 9)]),
        "form": question(
            kind="form", schema={"type": "object", "properties": fields, "required": ["carrier"]}
        ),
    }
    choice = question(kind="choice", choices=choices)
    made = {"question choice": Scene(choice)}
    made["question choice confirm"] = Scene(choice, confirm="choose_0", size=(1000, 560))
    made["question declined window"] = Scene(
        choice, ("reject_reason",), {"reject_reason": modals.reject(choice)}
    )
    for name, one in asked.items():
        view = modals.answer(one, _form(human.form(one.call)))
        made[f"question {name}"] = Scene(one)
        made[f"question {name} window"] = Scene(one, ("answer",), {"answer": view})
    instead = _answered(REFUND)
    made["refund answered instead"] = Scene(instead)
    answered = replace(_answered(dict(choice.call.arguments)), description="")
    made["question answered"] = Scene(replace(answered, call=replace(answered.call, tool=ASK_HUMAN)))
    return made


def _answered(arguments: dict[str, Any]) -> Card:
    """Settled by what a person said."""
    said, told = replace(NO, reason="", answer="DHL"), Outcome(K.SUCCEEDED, "DHL")
    return decided(S.APPROVED, C.SETTLED, verdict=said, outcome=told, arguments=arguments)


def _several() -> dict[str, Scene]:
    """Several calls of one turn."""
    first, second, third = (_numbered(n) for n in (1, 2, 3))
    over = BatchCard(
        run_id="run_9",
        turn=2,
        workflow="refund",
        requester=Actor("U0DANA", "dana", "slack"),
        run_status=RunStatus.WAITING,
        place=Place("C0APPR", ""),
        asked_at=NOW,
        cards=(first, second, third),
        together=True,
    )
    done = _numbered(1, decided(S.APPROVED, C.READY, verdict=YES, arguments=REFUND))
    views = {
        "approve_all": batches.approve_all(over.cards),
        "reject_all": batches.reject_all(over.cards),
    }
    return {
        "several calls": Scene(over, size=(1000, 1780)),
        "several calls, one decided": Scene(
            replace(over, cards=(done, second, third), preparing=("ship",)), size=(1000, 1780)
        ),
        "several calls approve window": Scene(over, ("approve_all",), views),
        "several calls reject window": Scene(over, ("reject_all",), views),
    }


def _numbered(number: int, base: Card | None = None) -> Card:
    """A call of its own id and digest."""
    base = base or card(REFUND | {"order_id": f"A-{1040 + number}"}, workflow="refund")
    return numbered(number, refund(base, together=True))
