"""Steps in order: what each is told, what it hands on, and where a run with steps ends."""

from typing import Any

import pytest
from support.conversation import ANNA, OK, TERMS, Conversation, seen

from orchestrator.domain.asking import GO_ON
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Verdict
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    CancelRequested,
    CreateClaimed,
    CreateRefused,
    StepBegun,
)
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import CallStatus, Limits, Outcome, OutcomeKind, Recipe, RunStatus
from orchestrator.domain.pipeline import (
    Step,
    StepKind,
    Thinker,
    UnresolvedError,
    confirms,
    named,
    output_of,
    references,
    resolve,
    step_call,
    told,
    wants_again,
)
from orchestrator.domain.plain import MAX_HANDED_ON
from orchestrator.domain.sources import Source
from orchestrator.domain.values import replace

DRAFT = Step("draft", StepKind.AGENT, Thinker(model="gemini-3.8-flash"), ("About:", {"from": "input"}))
FILM = Step("film", StepKind.TOOL, tool="lookup", arguments={"prompt": {"from": "draft"}})
TITLE = Step("title", StepKind.AGENT, Thinker(model="gemini-3.8-pro"), ({"from": "film.ok"},))


def piped(*steps: Step, **more: Any) -> Conversation:
    recipe = Recipe("content", steps=steps, terms=TERMS, **{"limits": Limits(), **more})
    return Conversation(workflow=recipe)


def begins(talk: Conversation, ruling: Ruling = Ruling.ALLOW, **more: Any) -> Conversation:
    """A worker prepares the call of the tool's step the run is at."""
    number = talk.run.turn.number
    terms = {"terms": TERMS} if ruling is Ruling.ASK else {}
    wished = Assessment("step:x", "lookup", ruling, more or {"n": 1}, digest="d" * 64, **terms)  # type: ignore[arg-type]
    return talk.hear(StepBegun(number, wished))


def runs(talk: Conversation, outcome: Outcome = OK, claim: str = "k1") -> Conversation:
    """The step's call is claimed and finished."""
    talk.claims("step:x", claim)
    talk.finishes("step:x", claim, outcome)
    return talk


def thinks(talk: Conversation, said: str, interaction: str = "i1") -> Conversation:
    talk.live(interaction)
    return talk.hear(seen(interaction, "completed", turn=talk.run.turn.number, output=said))


def test_each_step_is_told_what_those_before_came_to() -> None:
    talk = piped(DRAFT, FILM, TITLE)
    assert talk.run.turn.note == f"About:\n\n{talk.run.input}"
    thinks(talk, "a harbour at dusk")
    assert (talk.run.step, talk.run.outputs) == (1, {"draft": "a harbour at dusk"})
    assert f"{EffectKind.BEGIN_STEP}:2" in talk.waiting
    runs(begins(talk))
    assert talk.run.outputs["film"] == {"ok": True}
    assert talk.run.turn.note == "true"
    assert talk.run.acting.model == "gemini-3.8-pro"
    thinks(talk, "Dusk", "i2")
    assert (talk.run.status, talk.run.output) == (RunStatus.COMPLETED, "Dusk")
    assert talk.run.turn.previous_id is None  # no step goes on from another one's interaction


def test_a_step_that_says_nothing_but_an_error_is_not_gone_on_from() -> None:
    talk = piped(DRAFT, FILM).live()
    talk.hear(seen("i1", "completed", errors=("safety: kept back",)))
    assert (talk.run.status, talk.run.reason) == (RunStatus.FAILED, "step draft: safety: kept back")
    said = piped(DRAFT, FILM).live()
    said.hear(seen("i1", "completed", output="half", errors=("3: cut",)))
    assert (said.run.step, said.run.outputs) == (1, {"draft": "half"})


def test_a_tools_step_is_as_gated_as_a_models_call() -> None:
    talk = piped(FILM_FIRST)
    begins(talk, Ruling.ASK)
    assert talk.run.status is RunStatus.WAITING
    talk.answers("step:x", False)
    assert talk.run.status is RunStatus.FAILED
    assert "step film" in talk.run.reason
    assert "rejected" in talk.run.reason
    free = piped(FILM_FIRST)
    begins(free, Ruling.ASK).answers("step:x", True)
    runs(free)
    assert free.run.status is RunStatus.COMPLETED
    assert free.run.output == '{\n  "ok": true\n}'


FILM_FIRST = replace(FILM, arguments={"prompt": {"from": "input"}})


@pytest.mark.parametrize("ruling", [Ruling.DENY, Ruling.UNKNOWN, Ruling.INVALID])
def test_a_call_that_may_not_be_made_ends_the_run(ruling: Ruling) -> None:
    talk = begins(piped(FILM_FIRST), ruling)
    assert talk.run.status is RunStatus.FAILED
    assert talk.run.reason.startswith("step film: lookup")


def test_what_an_agent_hands_on_is_as_bounded_as_a_calls_result() -> None:
    fits = thinks(piped(DRAFT, FILM), "a" * (MAX_HANDED_ON - 2))  # and two quotation marks
    assert (fits.run.step, fits.run.closed) == (1, False)
    talk = thinks(piped(DRAFT, FILM), "a" * (MAX_HANDED_ON - 1))
    assert talk.run.status is RunStatus.FAILED
    assert talk.run.reason == "step draft: what it came to has 262145 bytes; at most 262144 are handed on"
    assert (len(talk.run.output), talk.run.outputs) == (MAX_HANDED_ON - 1, {}), "it is not thrown away"
    last = thinks(piped(DRAFT), "a" * MAX_HANDED_ON)
    assert last.run.status is RunStatus.COMPLETED, "nothing goes on with it"


def test_an_approval_step_is_called_by_its_own_name_in_reasons() -> None:
    ask = Step("legal", StepKind.TOOL, tool=confirms("content", "legal"))
    for stop, reason in (
        (False, "step legal: rejected: "),
        (True, "stopped by anna, who rejected step legal"),
    ):
        talk = piped(ask)
        call = step_call("legal", 1)
        talk.hear(StepBegun(1, Assessment(call, ask.tool, Ruling.ASK, {}, digest="d" * 64, terms=TERMS)))
        approval = talk.call(call).approval
        assert approval is not None
        talk.hear(ApprovalDecided(approval.id, "d" * 64, Verdict(False, ANNA, talk.now, stop=stop), ANNA.id))
        assert talk.run.reason.casefold().startswith(reason)
        assert "confirm_" not in talk.run.reason
    assert named("content", "pay", call) == "pay"


def test_what_cannot_be_resolved_ends_the_run_and_says_which() -> None:
    talk = piped(FILM_FIRST).hear(StepBegun(1, None, "draft.title: there is no title"))
    assert talk.run.reason == "step film: draft.title: there is no title"
    lost = piped(replace(TITLE, parts=({"from": "input.title"},)))
    assert lost.run.status is RunStatus.FAILED
    assert "there is no title" in lost.run.reason
    late = thinks(piped(DRAFT, replace(TITLE, parts=({"from": "draft.title"},))), "text")
    assert late.run.status is RunStatus.FAILED
    assert late.run.outputs == {"draft": "text"}


def test_a_step_begins_once_and_late_news_of_another_is_nothing() -> None:
    talk = begins(piped(FILM_FIRST, TITLE))
    before = talk.run
    begins(talk)
    talk.hear(StepBegun(7, None, "late"))
    assert talk.run == before
    stray = talk.happens(seen("i9", "in_progress", turn=1))
    assert talk.run == before
    assert [e.kind for e in stray.effects] == [EffectKind.CANCEL_INTERACTION]


def test_people_who_choose_may_have_it_made_anew_with_their_note() -> None:
    pick = Step("pick", StepKind.TOOL, tool="lookup", arguments={"files": {"from": "film"}}, again="film")
    film = replace(FILM, arguments={"note": {"from": "input"}})
    talk = runs(begins(piped(film, pick)))
    runs(begins(talk), Outcome(OutcomeKind.SUCCEEDED, {"answer": {"again": True, "note": "darker"}}))
    assert (talk.run.step, talk.run.turn.number) == (0, 3)
    assert resolve({"from": "pick.answer.note"}, "", talk.run.outputs) == "darker"
    runs(begins(talk))
    runs(begins(talk), Outcome(OutcomeKind.SUCCEEDED, {"answer": {"file": "a.mp4"}}))
    assert talk.run.status is RunStatus.COMPLETED
    again = runs(begins(piped(film, pick, limits=Limits(max_turns=2))))
    runs(begins(again), Outcome(OutcomeKind.SUCCEEDED, {"answer": {"again": True}}))
    assert again.run.status is RunStatus.FAILED
    assert "turn limit" in again.run.reason


def test_an_agent_that_is_asked_anew_is_told_what_it_said_and_the_note() -> None:
    pick = Step("pick", StepKind.TOOL, tool="lookup", arguments={"files": {"from": "draft"}}, again="draft")
    talk = thinks(piped(DRAFT, pick), "a lamp by day")
    runs(begins(talk), Outcome(OutcomeKind.SUCCEEDED, {"answer": {"again": True, "note": "darker"}}))
    first = f"About:\n\n{talk.run.input}"
    wish = "You answered:\n\na lamp by day\n\nPeople want it done anew: darker"
    assert talk.run.turn.note == f"{first}\n\n{wish}"
    thinks(talk, "a lamp by night", "i2")
    assert talk.run.outputs["draft"] == "a lamp by night"
    runs(begins(talk), Outcome(OutcomeKind.SUCCEEDED, {"answer": {"file": "a.mp4"}}))
    assert talk.run.status is RunStatus.COMPLETED


def test_a_cancel_wins_between_steps_and_in_them() -> None:
    for talk in (piped(FILM_FIRST), begins(piped(FILM_FIRST)), thinks(piped(DRAFT, FILM), "x")):
        talk.hear(CancelRequested(ANNA))
        assert talk.run.status is RunStatus.CANCELLED
        assert begins(talk).run.status is RunStatus.CANCELLED
        assert all(c.status is CallStatus.SETTLED for c in talk.run.turn.calls)


def test_what_follows_an_end_is_asked_for_with_it_and_only_then() -> None:
    hooks = {"completed": ("tell",), "failed": ("alarm", "tell")}
    talk = piped(FILM_FIRST, hooks=hooks)
    runs(begins(talk))
    assert [k for k in talk.waiting if k.startswith(EffectKind.START_HOOK)] == ["start_hook:tell"]
    bad = begins(piped(FILM_FIRST, hooks=hooks), Ruling.DENY)
    assert sum(k.startswith(EffectKind.START_HOOK) for k in bad.waiting) == 2
    gone = piped(FILM_FIRST, hooks=hooks).hear(CancelRequested(ANNA))
    assert not [k for k in gone.waiting if k.startswith(EffectKind.START_HOOK)]
    plain = Conversation(workflow=Recipe("plain", model="m", hooks=hooks))
    plain.hear(CreateClaimed(1, 1), CreateRefused(1, 1, "no such model"))
    assert sum(k.startswith(EffectKind.START_HOOK) for k in plain.waiting) == 2


def test_a_restart_goes_on_where_the_steps_stopped() -> None:
    talk = thinks(piped(DRAFT, FILM), "a harbour")
    begins(talk, Ruling.DENY)
    again = open_run("run_2", talk.run.recipe, talk.run.input, ANNA, now=talk.now, after=talk.run)
    assert (again.run.step, again.run.outputs) == (1, {"draft": "a harbour"})
    assert [e.kind for e in again.effects] == [EffectKind.END_RUN, EffectKind.BEGIN_STEP]


def test_references_and_what_they_stand_for() -> None:
    outputs = {"film": {"files": ["a.mp4", "b.mp4"], "n": 2}, "title": "Dusk"}
    value = {"files": {"from": "film.files"}, "one": [{"from": "film.files.1"}], "n": {"from": "film.n"}}
    assert resolve(value, "", outputs) == {"files": ["a.mp4", "b.mp4"], "one": ["b.mp4"], "n": 2}
    assert sorted(references(value)) == ["film.files", "film.files.1", "film.n"]
    assert resolve({"from": "input.a.0"}, '{"a": [7]}', {}) == 7
    assert resolve({"from": "x", "beside": 1}, "", {}) == {"from": "x", "beside": 1}  # no reference
    for bad in ("film.files.9", "film.nothing", "nobody", "input.a", "film.files.-1", "title.0"):
        with pytest.raises(UnresolvedError, match="there is no"):
            resolve({"from": bad}, "text", outputs)
    assert told((), "as it came", {}) == "as it came"
    with pytest.raises(UnresolvedError, match="no text"):
        told(({"from": "empty"},), "the run's own", {"empty": ""})
    assert told(("a", {"from": "film.n"}), "", outputs) == "a\n\n2"


def test_an_answer_is_read_as_json_only_where_that_was_asked_for() -> None:
    assert output_of('{"a": 1}', structured=False) == '{"a": 1}'
    assert output_of('{"a": 1}', structured=True) == {"a": 1}
    assert output_of("not json", structured=True) == "not json"
    assert output_of("[" * 100_000, structured=True).startswith("[[")
    spoilt = r'{"a\u0000": ["\ud800", 1e3, true], "n": 9007199254740993}'
    assert output_of(spoilt, structured=True) == {
        "a\ufffd": ["\ufffd", 1000.0, True],
        "n": "9007199254740993",
    }
    for no_json in ("NaN", '{"n": 1e400}', "[" * 70 + "]" * 70):
        assert output_of(no_json, structured=True) == no_json
    assert resolve({"from": "input.a"}, r'{"a": "\u0000"}', {}) == "\ufffd"
    assert not wants_again({"answer": {"again": "true"}})
    assert not wants_again("again")


def test_the_pages_an_agent_cites_are_kept_and_handed_on() -> None:
    talk = piped(DRAFT, replace(TITLE, parts=({"from": "draft_sources.0.url"},)))
    talk.live("i1")
    page = Source("https://a.example/1", "One")
    done = seen("i1", "completed", turn=1, output="text")
    talk.hear(replace(done, snapshot=replace(done.snapshot, sources=(page,))))
    assert talk.run.sources == (page,)
    assert talk.run.outputs["draft_sources"] == [{"url": page.url, "title": "One"}]
    assert talk.run.turn.note == page.url


def test_a_step_that_used_too_much_is_the_last_one_until_people_let_the_run_go_on() -> None:
    for approve in (True, False):
        talk = piped(DRAFT, TITLE_OF_DRAFT, limits=Limits(max_tokens=100))
        talk.live("i1").hear(seen("i1", "completed", output="dusk", usage={"total_tokens": 100}))
        assert (talk.run.status, talk.run.step) == (RunStatus.WAITING, 0)
        asked = next(c for c in talk.run.turn.calls if c.tool == GO_ON)
        talk.hear(seen("i1", "completed", output="dusk"))  # news of what is over
        assert talk.run.status is RunStatus.WAITING
        talk.answers(asked.call_id, approve)
        if approve:
            assert (talk.run.step, talk.run.turn.note) == (1, "dusk")
            assert talk.run.turn.previous_id is None
            thinks(talk, "Dusk", "i2")
            assert talk.run.status is RunStatus.COMPLETED
        else:
            assert talk.run.closed
            assert talk.run.outputs == {"draft": "dusk"}


TITLE_OF_DRAFT = replace(TITLE, parts=({"from": "draft"},))


def test_a_stale_reading_of_the_step_before_stops_nothing() -> None:
    talk = thinks(piped(DRAFT, FILM), "dusk")
    talk.hear(seen("i1", "in_progress", former=True))
    assert EffectKind.CANCEL_INTERACTION not in talk.kinds()
