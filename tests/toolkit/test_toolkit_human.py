"""`ask_human`: declared and checked like a tool, asked like nothing else, and never run."""

from typing import Any

import pytest

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Edits, Stage, Terms
from orchestrator.domain.human import ASK_HUMAN
from orchestrator.domain.model import OutcomeKind
from orchestrator.domain.values import replace
from orchestrator.errors import ConfigError
from orchestrator.toolkit import Toolkit, human, tool
from orchestrator.toolkit.execute import NOT_FOR_US
from orchestrator.toolkit.policy import Forbidden

CHOICE = {"question": "Which?", "kind": "choice", "choices": ["a", "b"]}
STAGES = (Stage("risk", ("U1", "U2"), 2), Stage("legal", ("U3",)))
STRICT = Terms((), "C1", stages=STAGES, edits=Edits.OTHER, four_eyes=True, answers=False)


def test_the_model_is_told_what_it_may_ask(bench: Any) -> None:
    (declared,) = bench(human.TOOL).toolkit.declarations([ASK_HUMAN])
    assert declared["name"] == ASK_HUMAN
    fields = declared["parameters"]["properties"]
    assert fields["kind"]["enum"] == ["text", "choice", "multi_choice", "form"]
    assert declared["parameters"]["required"] == ["question", "kind"]


@pytest.mark.parametrize(
    "wish",
    [
        CHOICE,
        {"question": "Why?", "kind": "text", "why": "to know"},
        {**CHOICE, "kind": "multi_choice"},
        {
            "question": "?",
            "kind": "form",
            "schema": {"type": "object", "properties": {"n": {"type": "number", "minimum": 0.5}}},
        },
    ],
)
def test_people_are_asked_always_and_one_answer_settles_it(bench: Any, wish: dict[str, Any]) -> None:
    found = bench(human.TOOL, defaults=STRICT).find(wish)
    assert (found.ruling, found.reason, found.idempotent) == (Ruling.ASK, "", False)
    assert {k: v for k, v in found.arguments.items() if v is not None} == wish
    assert found.terms == replace(
        STRICT, approvers=("U1", "U2", "U3"), stages=(), edits=Edits.NO, answers=True
    )


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"question": "Which?", "kind": "choice"}, "- choices: are needed for kind choice"),
        ({"question": "", "kind": "text"}, "- question:"),
        ({"question": "x" * 2_001, "kind": "text"}, "- question:"),
        ({"question": "?", "kind": "picture"}, "- kind:"),
        ({"question": "?", "kind": "form"}, "- schema: is needed for kind form"),
        ({**CHOICE, "approvers": ["U9"]}, "- approvers: is not a parameter"),
        (None, "- arguments: should be a JSON object"),
    ],
)
def test_what_nobody_can_be_asked_goes_back_to_the_model(bench: Any, wish: Any, told: str) -> None:
    found = bench(human.TOOL).find(wish)
    assert found.ruling is Ruling.INVALID
    assert told in found.reason


@pytest.mark.asyncio
async def test_it_is_refused_where_tools_are_run(bench: Any) -> None:
    outcome = await bench(human.TOOL).run(CHOICE)
    assert (outcome.kind, outcome.result) == (OutcomeKind.FAILED, NOT_FOR_US)


def test_the_policy_may_name_people_or_forbid_it(bench: Any) -> None:
    named = {"approvers": ["U7"], "channel": "C7", "at_timeout": "attention", "risk": "asks"}
    terms = bench(human.TOOL, overrides={ASK_HUMAN: named}).find(CHOICE).terms
    assert (terms.approvers, terms.channel, terms.risk) == (("U7",), "C7", "asks")
    assert bench(human.TOOL, overrides={ASK_HUMAN: {"approval": "deny"}}).find(CHOICE).ruling is Ruling.DENY
    ban = Forbidden(ASK_HUMAN, 'args.question.contains("password")', "no secrets")
    banned = bench(human.TOOL, forbidden=[ban])
    assert banned.find(CHOICE).ruling is Ruling.ASK
    assert banned.find({**CHOICE, "question": "Which password?"}).reason == "denied by policy: no secrets"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ({"approval": "allow"}, "approval"),
        ({"approval": "ask", "when": 'args.kind == "text"'}, "approval"),
        ({"quorum": 2, "approvers": ["U1", "U2"]}, "quorum"),
        ({"stages": [Stage("one", ("U1",))]}, "stages"),
        ({"edits": "same"}, "edits"),
    ],
)
def test_a_policy_under_which_it_could_not_work_stops_the_start(override: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=f"tool ask_human: {key}: "):
        Toolkit([human.TOOL], defaults=Terms(("U1",)), overrides={ASK_HUMAN: override})


def test_its_name_is_taken() -> None:
    @tool(name=ASK_HUMAN, approval="allow")
    def mine(question: str) -> str:
        """Ask somebody.

        Args:
            question: What.
        """
        return question

    with pytest.raises(ConfigError, match="ask_human"):
        Toolkit([mine])
