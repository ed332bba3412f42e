"""Windows of Slack: opened by a press, sent off, and decided about by the same gate as a button."""

import asyncio
import json
from typing import Any

import pytest
from litestar.testing import TestClient
from support.toolkit import FakeToolkit, Rule
from web_kit import (
    DIGEST,
    TEAM,
    House,
    Report,
    bearer,
    click_payload,
    form,
    later,
    slack_signed,
)
from window_kit import DOOR, because, press, sent, words

from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, Edits, Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.events import ApprovalEdited
from orchestrator.domain.model import CallStatus, Recipe
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.inputs import usable_errors
from orchestrator.emulator.slack.validation import validate_view
from orchestrator.emulator.slack.workspace import initial_state
from orchestrator.engine.intake import Decided
from orchestrator.errors import InvalidError, RejectedError, UnavailableError
from orchestrator.store import questions
from orchestrator.web.clicks import CHANGED, GONE, LONG_NOTE, NO_REASON, OUTSIDER
from orchestrator.web.submissions import UNCHANGED
from orchestrator.web.windows import NO_EDITS, NOT_OPENED, TOO_LATE

SCHEMA = {
    "type": "function",
    "name": "refund_order",
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "amount_cents": {"type": "integer"}},
        "required": ["order_id", "amount_cents"],
    },
}


@pytest.fixture
def house(house: House) -> House:
    house.doors = replace(house.doors, tools=(Report("refund_order", SCHEMA),))
    return house


def asked(house: House, **terms: Any) -> Approval:
    run = house.asked(terms=Terms(("U0ALICE", "U0BOB", "api:ops"), "C0APPR", **terms))
    approval = run.turn.calls[0].approval
    assert approval is not None
    return approval


def test_a_press_opens_a_window_and_decides_nothing(house: House) -> None:
    approval = asked(house, edits=Edits.SAME)
    for kind, callback in (("reject_reason", "reject"), ("edit", "edit"), ("details", "details")):
        assert press(house, click_payload(approval.id, kind=kind)) == [(200, None)]
        assert house.windows[-1]["callback_id"] == callback
        assert validate_view({k: v for k, v in house.windows[-1].items() if k != "pushed"}) == ()
    assert house.whispered.texts == []
    assert house.stands(approval).open


def test_the_details_of_what_was_decided_say_by_whom_and_why(house: House) -> None:
    approval = asked(house)
    press(house, sent("reject", approval, because("Too dear.")))
    press(house, click_payload(approval.id, kind="details"))
    shown = json.dumps(house.windows[-1])
    assert "Rejected by*\\n<@U0ALICE>" in shown
    assert "Too dear." in shown


def test_a_reason_goes_along_with_the_rejection(house: House) -> None:
    approval = asked(house)
    assert press(house, sent("reject", approval, because(" Too dear.\u200b "))) == [
        (200, {"response_action": "clear"})
    ]
    now = house.stands(approval)
    assert now.status is ApprovalStatus.REJECTED
    assert now.verdict is not None
    assert (now.verdict.by.id, now.verdict.by.door, now.verdict.reason) == ("U0ALICE", "slack", "Too dear.")


@pytest.mark.parametrize(
    ("reason", "error"),
    [(None, NO_REASON), (" ", NO_REASON), ("\u3164\u2800", NO_REASON), ("n" * 1_001, LONG_NOTE)],
)
def test_a_reason_that_will_not_do_is_said_at_its_field(house: House, reason: Any, error: str) -> None:
    approval = asked(house, reason_required=True)
    errors = {"response_action": "errors", "errors": {"reason": error}}
    assert press(house, sent("reject", approval, because(reason))) == [(200, errors)]
    assert house.stands(approval).open


def test_without_a_reason_where_none_is_required(house: House) -> None:
    approval = asked(house)
    assert press(house, sent("reject", approval, because(None)))[0][1] == {"response_action": "clear"}
    assert house.stands(approval).status is ApprovalStatus.REJECTED


def test_the_details_approve_what_they_show(house: House) -> None:
    approval = asked(house, discreet=True)
    assert press(house, sent("details", approval))[0] == (200, {"response_action": "clear"})
    assert house.stands(approval).status is ApprovalStatus.APPROVED


def test_it_is_checked_again_when_it_is_sent(house: House) -> None:
    approval = asked(house)
    others = [
        sent("details", approval, user="U0EVE"),
        sent("details", approval, digest="0" * 16),
        sent("details", approval, revision=2),
        sent("reject", approval, user="U0EVE"),
        sent("edit", approval, digest="0" * 16),
    ]
    answers = [words(a) for a in press(house, *others)]
    assert "Ask <@U0ALICE> or <@U0BOB>" in answers[0]
    assert answers[1:3] == [CHANGED, CHANGED]
    assert "You are not an approver" in answers[3]
    assert answers[4] == GONE
    assert house.stands(approval).open
    press(house, sent("reject", approval))
    late = words(press(house, sent("details", approval, user="U0BOB"))[0])
    assert late == "Already rejected by <@U0ALICE> at 2026-11-21 12:00 UTC."
    assert press(house, sent("reject", approval))[0][1] == {"response_action": "clear"}  # twice is once


def test_after_its_time_nothing_sent_counts(house: House) -> None:
    approval = asked(house)
    house.clock.now = later(hours=24)
    body = form(sent("details", approval))
    with TestClient(house.app()) as client:
        answer = client.post(DOOR, content=body, headers=slack_signed(body, at=later(hours=24)))
    assert words((answer.status_code, answer.json())) == GONE
    assert house.stands(approval).status is ApprovalStatus.EXPIRED


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"team": {"id": "T0EVIL"}}, 403),
        ({"api_app_id": "A0OTHER"}, 400),
        ({"user": {"id": "U0ALICE", "team_id": TEAM, "is_bot": True}}, 403),
        ({"user": None}, 400),
        ({"view": []}, 400),
    ],
)
def test_another_workspace_app_or_a_bot(house: House, changes: dict[str, Any], status: int) -> None:
    approval = asked(house)
    assert press(house, sent("details", approval) | changes)[0][0] == status
    assert house.stands(approval).open


def test_who_is_of_another_workspace_is_told_so(house: House) -> None:
    approval = asked(house)
    outsider = {"id": "U0ALICE", "team_id": "T0EVIL"}
    assert words(press(house, sent("details", approval, user="U0ALICE") | {"user": outsider})[0]) == OUTSIDER
    assert house.stands(approval).open


def test_windows_of_another_version_are_answered(house: House) -> None:
    approval = asked(house)
    strange, closed = sent("dance", approval), sent("reject", approval) | {"type": "view_closed"}
    answers = press(house, strange, closed)
    assert words(answers[0]) == GONE
    assert answers[1] == (200, None)
    assert house.stands(approval).open


def test_who_may_not_is_told_and_no_window_opens(house: House) -> None:
    approval = asked(house, edits=Edits.SAME)
    kinds = ("details", "edit", "reject_reason")
    press(house, *(click_payload(approval.id, kind=k, user="U0EVE") for k in kinds))
    assert house.windows == []
    assert (
        house.whispered.texts == ["You are not an approver for refund_order. Ask <@U0ALICE> or <@U0BOB>."] * 3
    )
    house.whispered.said.clear()
    fixed = asked(house)
    press(house, click_payload(fixed.id, kind="edit"), click_payload(fixed.id, kind="details", revision=2))
    assert house.whispered.texts == [NO_EDITS, CHANGED]


def test_in_a_window_the_words_stand_in_another(house: House) -> None:
    approval = asked(house)
    pressed = click_payload(approval.id, kind="edit", channel=None, message=None, response_url=None)
    pressed |= {"container": {"type": "view", "view_id": "V0A1"}, "view": {"id": "V0A1"}}
    assert press(house, pressed) == [(200, None)]
    [window] = house.windows
    assert window["pushed"]
    assert window["title"]["text"] == "Not done"
    house.trouble = UnavailableError("Slack is away")
    assert press(house, pressed)[0][0] == 503


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (RejectedError("late", code="expired_trigger_id"), TOO_LATE),
        (RejectedError("twice", code="exchanged_trigger_id"), TOO_LATE),
        (RejectedError("wrong", code="invalid_arguments"), NOT_OPENED),
        (UnavailableError("Slack is away"), NOT_OPENED),
    ],
)
def test_a_window_that_does_not_open_is_told_of(house: House, trouble: Exception, told: str) -> None:
    approval = asked(house)
    house.trouble = trouble
    assert press(house, click_payload(approval.id, kind="reject_reason")) == [(200, None)]
    assert house.whispered.texts == [told]
    assert house.stands(approval).open
    assert press(house, click_payload(approval.id, kind="approve")) == [(200, None)]  # one press all the same
    assert not house.stands(approval).open


def test_the_details_of_what_is_over_can_still_be_read(house: House) -> None:
    approval = asked(house)
    press(house, sent("reject", approval), click_payload(approval.id, kind="details", user="U0BOB"))
    assert "submit" not in house.windows[-1]
    press(house, click_payload(approval.id, kind="reject_reason", user="U0BOB"))
    assert house.whispered.texts == ["Already rejected by <@U0ALICE> at 2026-11-21 12:00 UTC."]


# ------------------------------------------------------------------ edits


class Editing:
    """Takes edits as the intake does, and keeps them; `problem` is raised instead."""

    def __init__(self, approval: Approval, problem: InvalidError | None = None) -> None:
        self.approval, self.problem = approval, problem
        self.taken: list[tuple[Any, dict[str, Any]]] = []

    async def terms_now(self, approval_id: str) -> None: ...

    async def edit(self, approval_id: str, arguments: Any, **more: Any) -> Decided:
        if self.problem is not None:
            raise self.problem
        self.taken.append((arguments, more))
        return Decided(self.approval, "refund_order")


def filled_in(house: House, approval: Approval, **changes: str) -> dict[str, Any]:
    """What Slack sends for the form that is open, with some fields changed."""
    press(house, click_payload(approval.id, kind="edit"))
    blocks = house.windows[-1]["blocks"]
    values = initial_state(blocks)
    for block in blocks:
        if block["type"] == "input" and block["label"]["text"] in changes:
            values[block["block_id"]]["v"]["value"] = changes[block["label"]["text"]]
    return values


def test_a_form_that_was_changed_is_an_edit(house: House) -> None:
    approval = asked(house, edits=Edits.SAME)
    values = filled_in(house, approval, amount_cents="900") | because("Half of it.")
    editing = Editing(approval)
    house.doors = replace(house.doors, intake=editing)  # type: ignore[arg-type]
    assert press(house, sent("edit", approval, values))[0] == (200, {"response_action": "clear"})
    [(arguments, more)] = editing.taken
    assert arguments == {"order_id": "A-1042", "amount_cents": 900}
    assert (more["by"], more["entitled_as"]) == (Actor("U0ALICE", "u0alice", "slack"), "U0ALICE")
    assert (more["digest"], more["reason"]) == (DIGEST[:16], "Half of it.")


def test_an_edit_that_nobody_could_see_whole_is_not_taken(house: House) -> None:
    approval = asked(house, edits=Edits.SAME)
    values = filled_in(house, approval, order_id="A-10\u200b42")
    editing = Editing(approval)
    house.doors = replace(house.doors, intake=editing)  # type: ignore[arg-type]
    [(_, answer)] = press(house, sent("edit", approval, values))
    [told] = answer["errors"].values()
    assert told.endswith(": A-10\\u{200B}42")
    assert editing.taken == []


def test_a_form_leaves_what_is_kept_from_view_as_it_is(house: House) -> None:
    approval = asked(house, edits=Edits.SAME, hidden=("order_id",))
    values = filled_in(house, approval, amount_cents="900")
    editing = Editing(approval)
    house.doors = replace(house.doors, intake=editing)  # type: ignore[arg-type]
    assert press(house, sent("edit", approval, values))[0] == (200, {"response_action": "clear"})
    assert [arguments for arguments, _ in editing.taken] == [{"order_id": "A-1042", "amount_cents": 900}]
    same = filled_in(house, approval)
    assert UNCHANGED in json.dumps(press(house, sent("edit", approval, same))[0])


def test_what_does_not_fit_is_said_at_its_field(house: House) -> None:
    approval = asked(house, edits=Edits.SAME)
    editing = Editing(approval)
    changes = [{"amount_cents": "9.5"}, {}, {"amount_cents": "0"}]
    forms = [filled_in(house, approval, **change) for change in changes]
    inputs = [b for b in house.windows[-1]["blocks"] if b["type"] == "input"]
    amount, order = (
        next(b["block_id"] for b in inputs if b["label"]["text"] == name)
        for name in ("amount_cents", "order_id")
    )
    house.doors = replace(house.doors, intake=editing)  # type: ignore[arg-type]
    half, same = press(house, *(sent("edit", approval, values) for values in forms[:2]))
    assert half[1] == {
        "response_action": "errors",
        "errors": {amount: "must be a whole number, in digits, within ±9007199254740991"},
    }
    assert same[1]["errors"] == {order: UNCHANGED}
    for problem in (
        InvalidError("it does not fit", [("amount_cents", "should be greater than 0")]),
        InvalidError("no", [("arguments.amount_cents", "should be greater than 0")]),
    ):
        editing.problem = problem
        [answer] = press(house, sent("edit", approval, forms[2]))
        assert answer[1]["errors"] == {amount: "should be greater than 0"}
    assert editing.taken == []


def test_the_errors_name_fields_of_the_window(house: House) -> None:
    """Slack takes no others."""
    approval = asked(house, edits=Edits.OTHER)
    values = filled_in(house, approval, amount_cents="x", order_id="")
    blocks = house.windows[-1]["blocks"]
    [answer] = press(house, sent("edit", approval, values))
    view: Any = type("View", (), {"blocks": blocks})
    assert len(usable_errors(view, answer[1]["errors"])) == 2


def test_groups_count_by_what_they_are_at_that_moment(house: House) -> None:
    run = house.asked(terms=Terms(("S0TEAM",), "C0APPR"))
    approval = run.turn.calls[0].approval
    assert approval is not None
    members: dict[str, tuple[str, ...]] = {"U0ALICE": ("S0TEAM",)}

    async def standing(person: str, among: Any, never: Any = ()) -> tuple[str, ...]:
        await asyncio.sleep(0)
        return tuple(g for g in members.get(person, ()) if g in among)

    house.doors = replace(house.doors, standing=standing)
    press(house, click_payload(approval.id, kind="details"), click_payload(approval.id, user="U0EVE"))
    assert len(house.windows) == 1
    assert house.whispered.texts == [
        "You are not an approver for refund_order. Ask somebody of the user group S0TEAM."
    ]
    members.clear()
    assert "not an approver" in words(press(house, sent("details", approval))[0])
    members["U0ALICE"] = ("S0TEAM",)
    assert press(house, sent("details", approval))[0][1] == {"response_action": "clear"}
    assert house.load(run.id).turn.calls[0].status is CallStatus.READY


def now_asked_under(house: House, terms: Terms, **rules: Rule) -> None:
    """From here on the policy would ask under those terms."""

    class Now(FakeToolkit):
        def terms(self, recipe: Recipe, tool: str) -> Terms | None:
            return terms

    house.look_tools_up(Now(rules))


def test_no_form_opens_for_arguments_that_may_not_be_changed_by_now(house: House) -> None:
    approval = asked(house, edits=Edits.SAME)
    now_asked_under(house, replace(approval.terms, edits=Edits.NO))
    press(house, click_payload(approval.id, kind="edit"))
    assert (house.whispered.texts, house.windows) == ([NO_EDITS], [])


@pytest.mark.parametrize("way", ["button", "window", "api"])
def test_who_was_put_on_the_deny_list_as_a_group_since_decides_nothing(house: House, way: str) -> None:
    approval = asked(house)
    now_asked_under(house, Terms(approval.terms.approvers, "C0APPR", never=("S0LEFT",)))

    async def standing(person: str, among: Any, never: Any = ()) -> tuple[str, ...]:
        await asyncio.sleep(0)
        return tuple({"S0LEFT"} & {*among})

    house.doors = replace(house.doors, standing=standing)
    if way == "button":
        press(house, click_payload(approval.id))
        assert "may not decide" in house.whispered.texts[0]
    elif way == "window":
        assert "may not decide" in words(press(house, sent("details", approval))[0])
    else:
        with TestClient(house.app()) as client:
            url = f"/v1/approvals/{approval.id}/decision"
            assert client.post(url, json={"verdict": "approve"}, headers=bearer("ops")).status_code == 403
    assert house.stands(approval).open


def test_where_nobody_knows_who_may_never_nothing_is_recorded(house: House) -> None:
    approval = asked(house, never=("S0LEFT",))

    async def standing(person: str, among: Any, never: Any = ()) -> tuple[str, ...]:
        await asyncio.sleep(0)
        assert "S0LEFT" in never
        raise UnavailableError("Slack does not tell")

    house.doors = replace(house.doors, standing=standing)
    answers = press(house, click_payload(approval.id), sent("details", approval))
    assert [status for status, _ in answers] == [503, 503]  # Slack shows a failure for each
    assert house.stands(approval).open


def test_a_field_that_was_not_in_the_window_is_not_an_empty_one(house: House) -> None:
    """The tool has changed since it was opened."""
    schema = {"type": "object", "properties": {"order_id": {"type": "string"}, "note": {"type": "string"}}}
    house.doors = replace(house.doors, tools=(Report("refund_order", {"parameters": schema}),))
    run = house.asked(
        terms=Terms(("U0ALICE",), "C0APPR", edits=Edits.SAME), arguments={"order_id": "A", "note": "half"}
    )
    approval = run.turn.calls[0].approval
    assert approval is not None
    values = filled_in(house, approval, order_id="B")
    lost = {key: entry for key, entry in values.items() if not key.startswith("f:1:")}
    editing = Editing(approval)
    house.doors = replace(house.doors, intake=editing)  # type: ignore[arg-type]
    assert words(press(house, sent("edit", approval, lost))[0]) == GONE
    assert editing.taken == []


def test_what_was_decided_can_still_be_read_by_who_may_decide(house: House) -> None:
    approval = asked(house)
    press(house, click_payload(approval.id, kind="approve"))
    press(house, *(click_payload(approval.id, kind="details", user=user) for user in ("U0ALICE", "U0EVE")))
    [window] = house.windows
    assert "A-1042" in json.dumps(window)
    assert "submit" not in window
    assert "You are not an approver" in house.whispered.texts[-1]


def test_an_edit_that_is_sent_again_is_not_told_that_nothing_was_changed(house: House) -> None:
    approval = asked(house, edits=Edits.SAME)
    values = filled_in(house, approval, amount_cents="900")
    fresh = Assessment(
        "fc_0",
        "refund_order",
        Ruling.ASK,
        {"order_id": "A-1042", "amount_cents": 900},
        digest="ee" * 32,
        terms=approval.terms,
    )
    run_id = house.write(questions.load_approval, approval.id)[2]
    house.apply(
        run_id,
        ApprovalEdited(approval.id, DIGEST, Actor("U0ALICE"), house.clock(), fresh, "", "U0ALICE"),
    )
    assert not house.stands(approval).open
    shown = len(house.windows)
    press(house, click_payload(approval.id, kind="details"))
    assert (house.whispered.texts, len(house.windows)) == ([CHANGED], shown), (
        "the old seal beside the new arguments"
    )
    house.doors = replace(house.doors, intake=Over(approval))  # type: ignore[arg-type]
    assert words(press(house, sent("edit", approval, values))[0]) == BY_ALICE


def test_other_arguments_that_do_not_fit_are_named_over_http(house: House) -> None:
    approval = asked(house, edits=Edits.SAME)
    now_asked_under(house, approval.terms, refund_order=Rule(Ruling.ASK, terms=approval.terms))
    body = {"verdict": "edit", "arguments": {"bad": 1}, "digest": DIGEST}
    with TestClient(house.app()) as client:
        answer = client.post(f"/v1/approvals/{approval.id}/decision", json=body, headers=bearer("ops"))
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "arguments.bad", "message": "is not a parameter"}]
    assert house.stands(approval).open


BY_ALICE = "Already approved by <@U0ALICE> at 2026-11-21 12:00 UTC."
BY_BOB = "Already approved by <@U0BOB> at 2026-11-21 12:00 UTC."


@pytest.mark.parametrize(("edits", "told"), [(Edits.SAME, BY_ALICE), (Edits.OTHER, CHANGED)])
def test_an_edit_that_is_sent_twice_is_told_what_came_of_the_first(
    house: House, edits: Edits, told: str
) -> None:
    approval = asked(house, edits=edits)
    now_asked_under(house, approval.terms, refund_order=Rule(Ruling.ASK, terms=approval.terms))
    values = filled_in(house, approval, amount_cents="900")
    first, again = press(house, sent("edit", approval, values), sent("edit", approval, values))
    assert first == (200, {"response_action": "clear"})
    assert words(again) == told
    press(house, click_payload(approval.id, user="U0BOB"))
    assert house.whispered.texts == [told]


@pytest.mark.parametrize("tool", ["as it was", "changed", "gone"])
def test_a_window_that_is_sent_too_late_is_told_who_decided(house: House, tool: str) -> None:
    approval = asked(house, edits=Edits.SAME)
    now_asked_under(house, approval.terms)
    values = filled_in(house, approval, amount_cents="900")
    press(house, click_payload(approval.id, user="U0BOB"))
    other = Report(
        "refund_order", {"parameters": {"type": "object", "properties": {"note": {"type": "string"}}}}
    )
    tools = {"as it was": house.doors.tools, "changed": (other,), "gone": ()}
    house.doors = replace(house.doors, tools=tools[tool])
    answers = press(house, sent("edit", approval, values), sent("reject", approval))
    assert [words(answer) for answer in answers] == [BY_BOB, BY_BOB]


class Over(Editing):
    """Refuses, as the intake does for a question that has another in its place."""

    async def edit(self, approval_id: str, arguments: Any, **more: Any) -> Decided:
        return Decided(self.approval, "refund_order", "already withdrawn", Refusal.NOT_FOUND)


def test_where_nobody_can_be_told_slack_shows_a_failure(house: House) -> None:
    """A button of another version in a window or on the Home tab, and a window that names no workspace."""
    approval = asked(house)
    pressed = click_payload(approval.id, kind="dance")
    for part in ("container", "channel", "message", "response_url"):
        del pressed[part]
    odd = sent("another", approval)
    nobodys = {key: part for key, part in odd.items() if key != "team"}
    shown = {"view": {"id": "V0A1", "type": "home"}}
    unheard = {"type": "block_suggestion"}
    answers = press(house, pressed | shown, odd, nobodys, pressed | shown | unheard)
    assert [status for status, _ in answers] == [400, 200, 403, 200]
    assert words(answers[1]) == GONE
