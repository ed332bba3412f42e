"""The steps of a workflow as config.yaml tells them, in order; each hands its output on by its name."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from orchestrator.domain.pipeline import CITED, INPUT, Step, StepKind, Thinker, confirms, references
from orchestrator.settings.addresses import ToolName, WorkflowName
from orchestrator.settings.approvals import PolicyOverride
from orchestrator.settings.fields import UNIQUE, Items, Section, VendorName

StepName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
MOST_STEPS: Final = 32
VIDEO, BATCH, CHOOSE = "generate_video", "run_batch", "choose_media"
_TOOLS: Final = {"video": VIDEO, "batch": BATCH, "choose": CHOOSE}
_THINKING: Final = tuple(Thinker.__struct_fields__)


class StepSetting(Section):
    """One step: who does it, with what."""

    name: StepName = Field(description="By which later steps refer to what this one came to.")
    kind: Literal["agent", "tool", "video", "batch", "approval", "choose"] = Field(
        description="An agent thinks; a tool is called; films or a batch are made; people say yes, or choose."
    )
    model: VendorName | None = Field(default=None, description="agent: the Gemini model.")
    agent: VendorName | None = Field(default=None, description="agent: the managed agent.")
    system_instruction: str | None = Field(default=None, min_length=1, description="agent: told every turn.")
    tools: Annotated[Items[ToolName], UNIQUE] = Field(default=(), description="agent: what it may call.")
    builtin_tools: Items[dict[str, Any]] = Field(default=(), description="agent: Gemini's own tools.")
    generation_config: dict[str, Any] = Field(default={}, description="agent: handed to the model.")
    response_format: dict[str, Any] | None = Field(
        default=None, description="agent: handed to Gemini; what it answers is then read as JSON."
    )
    agent_config: dict[str, Any] | None = Field(default=None, description="agent: handed to the agent.")
    environment: str | dict[str, Any] | None = Field(default=None, description="agent: its sandbox.")
    input: Any = Field(
        default=None, description="agent: a text, a reference `{from: …}`, or a list of them; else the run's."
    )
    tool: ToolName | None = Field(default=None, description="tool: which one.")
    arguments: dict[str, Any] = Field(
        default={}, description="All but agent: what it is given; values may be references `{from: …}`."
    )
    policy: PolicyOverride | None = Field(
        default=None, description="approval: under which terms people are asked; else the usual ones."
    )
    again: StepName | None = Field(
        default=None, description="choose: the step to go back to when people want it done anew."
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "StepSetting":
        thinks = self.kind == "agent"
        given = [n for n in _THINKING if getattr(self, n) not in (None, (), {})]
        if thinks and (self.model is None) == (self.agent is None):
            raise ValueError("an agent's step must name a model or an agent, one of them")
        if not thinks and given:
            raise ValueError(f"{given[0]} is for a step of kind agent")
        if thinks and self.arguments:
            raise ValueError("arguments are for the other kinds; an agent's step takes input")
        if not thinks and self.input is not None:
            raise ValueError("input is for a step of kind agent; the others take arguments")
        if (self.tool is not None) != (self.kind == "tool"):
            raise ValueError("tool is for a step of kind tool, which needs it")
        if self.policy is not None and self.kind != "approval":
            raise ValueError("policy is for a step of kind approval; others keep to the rules of their tool")
        if self.policy is not None and (self.policy.approval not in (None, "ask") or self.policy.when):
            raise ValueError("policy: an approval step always asks; leave approval and when out")
        if self.again is not None and self.kind != "choose":
            raise ValueError("again is for a step of kind choose")
        return self

    @property
    def parts(self) -> tuple[Any, ...]:
        """What an agent is told, part by part."""
        if self.input is None:
            return ()
        return tuple(self.input) if isinstance(self.input, list | tuple) else (self.input,)

    def tool_of(self, workflow: str) -> str:
        """The tool that is called in it; empty for an agent's step."""
        if self.kind == "approval":
            return confirms(workflow, self.name)
        return self.tool or _TOOLS.get(self.kind, "")

    def value(self, workflow: str) -> Step:
        """The step as the domain takes it."""
        if self.kind != "agent":
            again = self.again or ""
            return Step(
                self.name,
                StepKind.TOOL,
                tool=self.tool_of(workflow),
                arguments=self._arguments,
                again=again,
            )
        thinker = Thinker(**{name: getattr(self, name) for name in _THINKING})
        return Step(self.name, StepKind.AGENT, thinker, parts=self.parts)

    @property
    def _arguments(self) -> dict[str, Any]:
        """An approval's arguments are facts of any names, shown as one object.

        Where there is no step to go back to, people who choose are not offered to have it done anew.
        """
        if self.kind == "choose" and self.again is None:
            return {**self.arguments, "again_allowed": False}
        return {"facts": self.arguments} if self.kind == "approval" else self.arguments


def check_steps(steps: Sequence[StepSetting]) -> None:
    """Raises `ValueError` for steps of one name, and for references to what is not there yet."""
    before: list[str] = []
    for i, step in enumerate(steps, 1):
        if step.name in before or step.name == INPUT:
            raise ValueError(f"step {i}: the name {step.name} is taken")
        for reference in references([step.input, step.arguments]):
            first = reference.split(".")[0]
            later = {s.name for s in steps if s.name not in before}
            if first != INPUT and first not in before:
                late = "comes later" if first in later else "is no step"
                raise ValueError(f"step {i} ({step.name}): {{from: {reference}}}: {first} {late}")
        if step.again is not None and step.again not in before:
            raise ValueError(f"step {i} ({step.name}): again: {step.again} is no step before this one")
        before += [step.name, f"{step.name}{CITED}"] if step.kind == "agent" else [step.name]


class Hooks(Section):
    """Workflows that are started when a run ends; each is given how it ended, as JSON of 256 KiB at most."""

    completed: Annotated[Items[WorkflowName], UNIQUE] = Field(default=(), description="After a good end.")
    failed: Annotated[Items[WorkflowName], UNIQUE] = Field(default=(), description="After a bad one.")
    cancelled: Annotated[Items[WorkflowName], UNIQUE] = Field(default=(), description="After a cancel.")

    @property
    def value(self) -> dict[str, tuple[str, ...]]:
        """By the run's end; those that name a workflow."""
        named = {"completed": self.completed, "failed": self.failed, "cancelled": self.cancelled}
        return {end: names for end, names in named.items() if names}
