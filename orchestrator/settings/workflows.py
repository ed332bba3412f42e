"""One workflow as config.yaml tells it, and the recipe a run keeps of it."""

from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from orchestrator.domain.consent import Terms
from orchestrator.domain.daily import Daily
from orchestrator.domain.model import Limits, Recipe
from orchestrator.settings.addresses import ToolName
from orchestrator.settings.approvals import PolicyOverride
from orchestrator.settings.callbacks import WorkflowCallback
from orchestrator.settings.fields import UNIQUE, Items, Section, VendorName
from orchestrator.settings.hours import DigestHour
from orchestrator.settings.inputs import MAX_INPUT_CHARS, InputForm
from orchestrator.settings.prompt import check_prompt
from orchestrator.settings.schema import check_schema
from orchestrator.settings.steps import MOST_STEPS, Hooks, StepSetting, check_steps

DAY_SECONDS: Final = 86_400
NO_FUNCTIONS: Final = ("deep-research",)
"""Agents, by the beginning of their names, that take no functions of ours."""


def _text_or_mapping(value: object) -> object:
    """One error for a value that is neither, instead of one for each that it is not."""
    if value is not None and not isinstance(value, str | dict):
        raise ValueError("must be text or a mapping")
    if value == "":
        raise ValueError("must not be empty")
    return value


class RunLimits(Section):
    """Bounds of one run; crossing one ends it with that reason."""

    max_turns: int = Field(default=20, ge=1, le=1000, description="Interactions in the run's chain.")
    max_calls_per_turn: int = Field(
        default=16, ge=1, le=256, description="Function calls of one interaction."
    )
    max_bad_calls: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Calls of unknown tools or with arguments that do not fit, in all.",
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="Tokens of all turns; over it people are asked whether to go on."
    )
    max_duration_seconds: float = Field(
        default=7 * DAY_SECONDS,
        gt=0,
        le=365 * DAY_SECONDS,
        description="From the trigger to the end of the run.",
    )
    max_input_chars: int = Field(
        default=MAX_INPUT_CHARS, ge=1, le=1_000_000, description="Longest text the model is started with."
    )


class Workflow(Section):
    """A recipe: who thinks, with which instruction and tools, about what kind of input."""

    description: str = Field(default="", description="One line for people who choose a workflow.")
    model: VendorName | None = Field(default=None, description="Gemini model; this or `agent`.")
    agent: VendorName | None = Field(default=None, description="Managed agent; this or `model`.")
    system_instruction: str | None = Field(default=None, min_length=1, description="Told on every turn.")
    tools: Annotated[Items[ToolName], UNIQUE] = Field(
        default=(), description="Our tools the model may call, by name."
    )
    builtin_tools: Items[dict[str, Any]] = Field(
        default=(), description="Gemini's own tools as its API takes them, such as `{type: google_search}`."
    )
    input: dict[str, Any] | None = Field(
        default=None, description="JSON Schema of the caller's input object; absent: the input is plain text."
    )
    prompt: str | None = Field(
        default=None, min_length=1, description="Text for the model, with `{field}` for the input's fields."
    )
    generation_config: dict[str, Any] = Field(default={}, description="Handed to the model as it is.")
    response_format: dict[str, Any] | None = Field(default=None, description="Handed to Gemini as it is.")
    agent_config: dict[str, Any] | None = Field(
        default=None,
        description="Handed to the agent; with `collaborative_planning: true` people decide about its plan.",
    )
    environment: Annotated[str | dict[str, Any] | None, BeforeValidator(_text_or_mapping)] = Field(
        default=None,
        description="Sandbox of a managed agent: `remote`, an id, or an object.",
    )
    attended: bool = Field(
        default=True,
        description="False: nobody waits for its runs, so people are asked at the hour of a `digest`, in one"
        " message.",
    )
    digest: DigestHour | None = Field(
        default=None, description="That hour for this workflow, instead of `approvals.digest`."
    )
    steps: Items[StepSetting] = Field(
        default=(),
        max_length=MOST_STEPS,
        description="Steps in order, instead of one model or agent; each hands its output on by its name.",
    )
    on: Hooks = Field(default=Hooks(), description="Workflows that are started when a run of it ends.")
    max_concurrent: int | None = Field(
        default=None, ge=1, description="Most runs of it that have begun and not ended; others stay queued."
    )
    overrides: dict[ToolName, PolicyOverride] = Field(
        default={},
        description="Our terms for single tools in this workflow, over those of `tools.overrides`.",
    )
    callback: WorkflowCallback | None = Field(
        default=None, description="An address that is told of its runs, by signed webhooks."
    )
    limits: RunLimits = RunLimits()

    @field_validator("builtin_tools")
    @classmethod
    def _gemini_runs_them(cls, tools: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        """A server-side MCP call never passes by us, so no person could approve it; refused."""
        for i, tool in enumerate(tools):
            if not isinstance(kind := tool.get("type"), str) or not kind:
                raise ValueError(f"entry {i + 1} needs a type, such as google_search")
            if kind == "mcp_server":
                raise ValueError(
                    f"entry {i + 1} is an mcp_server, whose calls nobody can approve; write a tool"
                )
            if kind == "function":
                raise ValueError(f"entry {i + 1} is a function; name it under tools")
        return tools

    @field_validator("input")
    @classmethod
    def _a_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            check_schema(schema)
        return schema

    @field_validator("prompt")
    @classmethod
    def _a_prompt(cls, prompt: str | None, info: ValidationInfo) -> str | None:
        if prompt is not None and "input" in info.data:
            check_prompt(prompt, info.data["input"])
        return prompt

    @model_validator(mode="after")
    def _steps_or_one_thinker(self) -> "Workflow":
        if not self.steps:
            return self
        told = ("system_instruction", "tools", "builtin_tools", "generation_config", "response_format")
        for name in ("model", "agent", "prompt", *told, "agent_config", "environment"):
            if getattr(self, name) not in (None, (), {}):
                raise ValueError(f"{name} cannot stand beside steps: say it in the step it is for")
        check_steps(self.steps)
        return self

    @model_validator(mode="after")
    def _one_thinker(self) -> "Workflow":
        if self.steps:
            return self
        if (self.model is None) == (self.agent is None):
            raise ValueError("must name a model or an agent, one of them")
        if self.agent and self.generation_config:
            raise ValueError("generation_config is for models; an agent takes agent_config")
        if self.model and self.agent_config:
            raise ValueError("agent_config is for agents; a model takes generation_config")
        if self.model and self.environment is not None:
            raise ValueError("environment is for agents; a model works in none")
        return self

    @model_validator(mode="after")
    def _what_the_agent_takes(self) -> "Workflow":
        """Deep Research takes neither functions nor a response format (Gemini API, Deep Research)."""
        if (self.agent or "").startswith(NO_FUNCTIONS):
            for name, given in (("tools", self.tools), ("response_format", self.response_format)):
                if given:
                    raise ValueError(f"{name} cannot be given: {self.agent} takes none")
        planning = (self.agent_config or {}).get("collaborative_planning")
        if planning is not None and not isinstance(planning, bool):
            raise ValueError("agent_config.collaborative_planning must be true or false")
        return self

    @property
    def wanted(self) -> tuple[tuple[str, str], ...]:
        """Every tool it names, and where: its model's, its steps' and their agents'."""
        own = [(f"tools[{i}]", tool) for i, tool in enumerate(self.tools)]
        steps = ((f"steps[{i}]", t) for i, s in enumerate(self.steps) for t in (*s.tools, s.tool) if t)
        return (*own, *steps)

    def has(self, name: str) -> tuple[str, ...]:
        """Every tool called in it, which is configured as `name`; an approval step has terms of its own."""
        made = (s.tool_of(name) for s in self.steps if s.kind not in ("agent", "approval"))
        return tuple(dict.fromkeys([*(tool for _, tool in self.wanted), *made]))

    @property
    def asks_by_itself(self) -> bool:
        """Whether its runs put questions of their own to people: about a plan, or a limit."""
        agents = (self.agent_config, *(step.agent_config for step in self.steps))
        plans = any((config or {}).get("collaborative_planning") for config in agents)
        return plans or self.limits.max_tokens is not None

    @cached_property
    def form(self) -> InputForm:
        """What checks and renders a caller's input."""
        return InputForm(self.input, self.prompt, max_chars=self.limits.max_input_chars)

    def recipe(self, name: str, terms: Terms | None = None, collect: Daily | None = None) -> Recipe:
        """The workflow as the domain takes it, under its configured name.

        Args:
            terms: Under which its runs put their own questions to people: whether to restart one, at least.
            collect: When people are shown what its runs ask, where the workflow names no hour itself.
        """
        limits = self.limits
        return Recipe(
            workflow=name,
            model=self.model,
            agent=self.agent,
            system_instruction=self.system_instruction,
            tools=self.tools,
            builtin_tools=self.builtin_tools,
            generation_config=self.generation_config,
            response_format=self.response_format,
            agent_config=self.agent_config,
            environment=self.environment,
            terms=terms,
            steps=tuple(step.value(name) for step in self.steps),
            hooks=self.on.value,
            collect=None if self.attended else self.digest.value if self.digest else collect,
            callbacks=(self.callback.value,) if self.callback is not None else (),
            limits=Limits(
                max_turns=limits.max_turns,
                max_calls_per_turn=limits.max_calls_per_turn,
                max_bad_calls=limits.max_bad_calls,
                max_duration=timedelta(seconds=limits.max_duration_seconds),
                max_tokens=limits.max_tokens,
            ),
        )
