"""`ask_human`: the built-in tool by which the agent asks people. A person's answer is its result.

A workflow has it by naming it under `tools`. It is declared like any other tool, so that the model and the
validator read the same; but it never runs: `find` always asks people, and `execute` refuses it.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from orchestrator.domain.consent import Edits, Terms
from orchestrator.domain.human import ASK_HUMAN, faults
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.values import replace
from orchestrator.errors import ConfigError
from orchestrator.toolkit.declare import Tool, record_of, tool
from orchestrator.toolkit.policy import Rule
from orchestrator.toolkit.schema import refusal

QUESTION_CHARS: Final = 2_000
WHY_CHARS: Final = 500


@tool(name=ASK_HUMAN, approval="ask")
def ask_human(
    question: Annotated[str, Field(min_length=1, max_length=QUESTION_CHARS)],
    kind: Literal["text", "choice", "multi_choice", "form"],
    choices: list[str] | None = None,
    schema: dict[str, Any] | None = None,
    why: Annotated[str, Field(max_length=WHY_CHARS)] | None = None,
) -> None:
    """Ask a person a question and wait for the answer.

    Use it when something is missing that only people know or may decide. The result is
    {"answer": ...}: a text, one of the choices, a list of them, or an object that fits the schema.
    An error result says that a person declined to answer, or that nobody answered in time.

    Args:
        question: What is asked, in full: who answers sees nothing else of this conversation.
        kind: "text" for free text, "choice" for one of the choices, "multi_choice" for any number of
            them, "form" for an object with several fields.
        choices: For "choice" and "multi_choice" only: 2 to 20 different short texts.
        schema: For "form" only: a JSON Schema of type object whose properties are strings (also with
            enum or format date), integers, numbers, booleans, or arrays with items of
            {"type": "string", "enum": [...]}; nothing nested.
        why: What the answer is needed for, if the question does not say.
    """
    raise NotImplementedError("people answer it, nothing runs")


def _record() -> Tool:
    record = record_of(ask_human)
    assert record is not None  # noqa: S101  declared right above
    return record


TOOL: Final = _record()


def refuse(arguments: JsonObject) -> None:
    """Raises `InvalidError`, for the model, where people cannot be asked that."""
    if found := faults(arguments):
        raise refusal(found)


def check_rule(rule: Rule) -> None:
    """Raises `ConfigError` for a rule under which nobody, or more than one, would have to answer."""
    if rule.approval == "allow" or (rule.approval == "ask" and rule.when is not None):
        raise ConfigError("approval: should be ask, or deny; without a person there is no answer")
    if rule.people.stages or (rule.people.quorum or 1) > 1:
        key = "stages" if rule.people.stages else "quorum"
        raise ConfigError(f"{key}: an answer is one person's; leave it out")
    if rule.people.edits not in (None, Edits.NO):
        raise ConfigError("edits: the agent's question cannot be changed; leave it out")


def terms(usual: Terms) -> Terms:
    """One answer of anybody who may decide, in whatever stage the default has them."""
    approvers = tuple(dict.fromkeys(entry for step in usual.steps for entry in step.approvers))
    return replace(usual, approvers=approvers, stages=(), quorum=1, edits=Edits.NO, answers=True)
