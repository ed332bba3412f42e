"""What a workflow's own steps ask in Slack: whether it goes on, and which of the files is taken."""

from datetime import timedelta
from typing import Any

import pytest
from support.slack_cards import ALICE, NO, NOW, YES, C, K, S, card, decided
from support.slack_limits import faults, markup, texts

from orchestrator.domain.cards import Card
from orchestrator.domain.choosing import CHOOSE_MEDIA, anew
from orchestrator.domain.consent import ApprovalStatus, Stage, Verdict, Vote
from orchestrator.domain.jobreports import results
from orchestrator.domain.jobs import Job, JobKind, JobStatus, StoredFile
from orchestrator.domain.model import Outcome, RunStatus
from orchestrator.domain.pipeline import asked_by, confirms, step_call, step_of
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import validate_blocks, validate_view
from orchestrator.slack import batches, human, modals
from orchestrator.slack.arguments import seen
from orchestrator.slack.blocks import draw
from orchestrator.slack.text import facts

HOSTILE = "<!channel> *bold* \u202e\nscore (JSON):\n  100"
STAGES = (Stage("risk", ("U0ALICE",)), Stage("legal", ("U0BOB",)))


def step(told: Any = None, **approval: Any) -> Card:
    """Whether the workflow goes on, with these facts; `approval` to the question about it."""
    base = card({"facts": {"report": HOSTILE, "score": 7} if told is None else told}, workflow="re-view")
    terms = replace(base.approval.terms, stages=STAGES)
    asked = replace(base.approval, terms=terms, **approval)
    call = replace(base.call, tool=confirms("re-view", "go"), call_id=step_call("go", 2), approval=asked)
    return replace(base, approval=asked, call=call, description="Let the workflow go on.")


def choice(status: ApprovalStatus = S.PENDING, verdict: Verdict | None = None, **more: Any) -> Card:
    files = [f"run_1/job_{n}-1.mp4" for n in (1, 2)]
    base = card({"question": "Which?", "files": files, "labels": ["Harbour", "Market"], **more})
    approval = replace(base.approval, status=status, verdict=verdict)
    call = replace(base.call, tool=CHOOSE_MEDIA, approval=approval, call_id=step_call("pick", 3))
    if status is not S.PENDING:
        call = replace(call, status=C.SETTLED, outcome=Outcome(K.SUCCEEDED, {}))
    return replace(base, approval=approval, call=call, run_status=RunStatus.RUNNING)


def shown(one: Card) -> str:
    message = draw(one, now=NOW)
    assert faults(message.blocks) == []
    assert validate_blocks(message.blocks) == ()
    return "\n".join([message.text, *texts(message.blocks)])


def test_a_call_knows_the_step_that_made_it() -> None:
    assert step_of(step_call("go", 12)) == "go"
    assert step_of("fc_1") == ""
    assert asked_by("re-view", confirms("re-view", "go"), step_call("go", 1)) == "go"
    assert asked_by("re-view", "confirm_re_view_go", "fc_1") == ""  # an agent's tool may be called so
    assert asked_by("re-view", "publish_post", step_call("go", 1)) == ""


@pytest.mark.parametrize(
    ("status", "verdict", "run", "told"),
    [
        (S.PENDING, None, RunStatus.WAITING, "Let the workflow re-view go on: go"),
        (S.APPROVED, YES, RunStatus.RUNNING, "The workflow goes on."),
        (S.REJECTED, NO, RunStatus.FAILED, "The workflow does not go on."),
        (S.EXPIRED, None, RunStatus.FAILED, "No decision in time. The workflow does not go on."),
        (S.WITHDRAWN, None, RunStatus.CANCELLED, "The run was cancelled. The workflow does not go on."),
    ],
)
def test_an_approval_step_is_told_in_words_of_ours(
    status: ApprovalStatus, verdict: Verdict | None, run: RunStatus, told: str
) -> None:
    asked = step(status=status, verdict=verdict)
    if status is S.APPROVED:
        done = replace(asked.call, status=C.SETTLED, outcome=Outcome(K.SUCCEEDED, {"confirmed": True}))
        asked = replace(asked, call=done)
    said = shown(replace(asked, run_status=run))
    assert told in said
    assert not any(word in said for word in ("confirm", "Arguments", "The agent", "the tool"))


def test_the_facts_are_text_and_no_value_can_pass_for_another() -> None:
    asked = step()
    said = seen(asked)
    assert said.text == "score (JSON):\n  7\nreport:\n  <!channel> *bold* \\u{202E}\n  score (JSON):\n    100"
    assert said.notes
    assert not any("bold" in text for text in markup(draw(asked, now=NOW).blocks))
    values: list[dict[str, Any]] = [
        {"a": "7"},
        {"a": 7},
        {"a (JSON)": "7"},
        {"a": "\n7"},
        {"a": "x\nb:\n  y"},
        {"a": "x", "b": "y"},
    ]
    assert len({facts(value).text for value in [*values, {}, {"": ""}, {"a": "7\u200b"}]}) == 9
    assert seen(step("no object")).text == '{\n  "facts": "no object"\n}'


def test_films_that_are_made_are_told_of_in_short() -> None:
    wish = Job("job_1", 1, JobKind.VIDEO, {}, JobStatus.FAILED, said="refused", ended_at=NOW)
    film = StoredFile("run_1/job_2-1.mp4", "video/mp4", 9, "ab" * 32)
    jobs = (wish, replace(wish, id="job_2", number=2, status=JobStatus.SUCCEEDED, files=(film,)))
    over = decided(S.APPROVED, C.SETTLED, verdict=YES, started=True)
    made = Outcome(K.SUCCEEDED, results(replace(over.call, jobs=jobs)))
    long = replace(over.call, outcome=made, settled_at=NOW + timedelta(hours=3, minutes=5))
    said = shown(replace(over, call=long))
    assert [w for w in ("3 h 5 min", "refused", film.path, '"succeeded": 1') if w not in said] == []
    assert film.sha256 not in said
    waits = replace(
        over, call=replace(long, status=C.AWAITING_JOB, outcome=None), progress="1 of 2 jobs done"
    )
    assert "Gemini is at work on it." in shown(waits)


def test_its_windows_and_the_dialog_say_what_follows() -> None:
    first = step()
    last = step(votes=(Vote(ALICE, NOW, 0),))
    for one, follows in ((first, "one of the approvals it needs"), (last, "lets the workflow go on")):
        details, reject = modals.details(one, open_=True), modals.reject(one)
        together = batches.approve_all([one, one])
        assert [validate_view(view) for view in (details, reject, together)] == [(), (), ()]
        said = "\n".join(texts([*details["blocks"], *reject["blocks"], *together["blocks"]]))
        assert follows in said
        assert "The run ends with that." in said
        assert not any(word in said for word in ("confirm_", "The agent", "stop the whole run"))
        dialog = next(
            e["confirm"] for b in draw(one, now=NOW).blocks for e in b.get("elements", ()) if "confirm" in e
        )
        assert ("one of the approvals" in dialog["text"]["text"]) == (one is first)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            {"number": 2},
            ("Chosen: choice", "Chosen by", "2. Market (run_1/job_2-1.mp4)", "The workflow goes on."),
        ),
        (anew("darker"), ("To be made anew: choice", "Sent back by", "What should be different", "darker")),
    ],
)
def test_a_choice_says_what_was_chosen(answer: Any, told: tuple[str, ...]) -> None:
    said = shown(choice(S.APPROVED, replace(NO, reason="", answer=answer)))
    assert [words for words in told if words not in said] == []
    assert "The agent" not in said
    over = "Nobody chose in time. The workflow does not go on."
    assert over in shown(replace(choice(S.EXPIRED), run_status=RunStatus.FAILED))
    gone = shown(replace(choice(S.WITHDRAWN), run_status=RunStatus.CANCELLED))
    assert "The run was cancelled. There is nothing to answer any more." in gone


def test_windows_about_a_choice_know_no_tool_and_no_agent() -> None:
    asked = choice()
    form = human.form(asked.call)
    assert form is not None
    views = [modals.details(asked, open_=True), modals.reject(asked), modals.answer(asked, form)]
    assert [validate_view(view) for view in views] == [(), (), ()]
    said = "\n".join(text for view in views for text in texts(view["blocks"]))
    assert "None of them is taken. The run ends with that." in said
    assert not any(word in said for word in (CHOOSE_MEDIA, "The agent", "stop the whole run"))
