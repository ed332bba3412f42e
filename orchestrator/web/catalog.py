"""What can be started, and with which tools.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from typing import Any

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from orchestrator.domain.pipeline import StepKind
from orchestrator.errors import NotFoundError
from orchestrator.web.doors import Doors, ToolReport, WorkflowInfo
from orchestrator.web.problems import problems, shown
from orchestrator.web.runs import READ, known_workflow


class StepInShort(Struct, kw_only=True):
    """One step of a workflow; `tool` is what it calls, null where an agent thinks."""

    name: str
    kind: StepKind
    tool: str | None


class WorkflowOut(Struct, kw_only=True):
    """`tools` are all its runs may call, those of its steps included. `input` is the JSON Schema of the input
    object, None where the input is plain text.
    """

    name: str
    description: str
    model: str | None
    agent: str | None
    steps: list[StepInShort]
    tools: list[str]
    builtin_tools: list[str]
    input: dict[str, Any] | None
    max_turns: int
    max_duration_seconds: float
    links: dict[str, str]


class WorkflowList(Struct, kw_only=True):
    items: list[WorkflowOut]


class ToolOut(Struct, kw_only=True):
    """`approval` is the rule in words; `declaration` is what the model is given."""

    name: str
    module: str
    summary: str
    approval: str
    approvers: list[str]
    idempotent: bool
    timeout_seconds: float
    tool_version: str
    policy_version: str
    declaration: dict[str, Any]
    workflows: list[str]


class ToolList(Struct, kw_only=True):
    items: list[ToolOut]


@get("/workflows", opt=READ, summary="List workflows", responses=problems(400))
async def list_workflows(doors: NamedDependency[Doors]) -> WorkflowList:
    return WorkflowList(items=[_workflow(w) for _, w in sorted(doors.workflows.items())])


@get("/workflows/{name:str}", opt=READ, summary="One workflow", responses=problems(400, 404))
async def show_workflow(name: FromPath[str], doors: NamedDependency[Doors]) -> WorkflowOut:
    return _workflow(known_workflow(doors, name))


@get("/tools", opt=READ, summary="List tools", responses=problems(400))
async def list_tools(doors: NamedDependency[Doors]) -> ToolList:
    return ToolList(items=[_tool(t, doors) for t in doors.tools])


@get("/tools/{name:str}", opt=READ, summary="One tool", responses=problems(400, 404))
async def show_tool(name: FromPath[str], doors: NamedDependency[Doors]) -> ToolOut:
    for tool in doors.tools:
        if tool.name == name:
            return _tool(tool, doors)
    raise NotFoundError(f"there is no tool {shown(name)}")


def _workflow(info: WorkflowInfo) -> WorkflowOut:
    recipe, own = info.recipe, f"/v1/workflows/{info.name}"
    return WorkflowOut(
        name=info.name,
        description=info.description,
        model=recipe.model,
        agent=recipe.agent,
        steps=[StepInShort(name=s.name, kind=s.kind, tool=s.tool or None) for s in recipe.steps],
        tools=list(recipe.callable),
        builtin_tools=[str(t.get("type", "")) for t in recipe.builtin_tools],
        input=dict(info.input_schema) if info.input_schema is not None else None,
        max_turns=recipe.limits.max_turns,
        max_duration_seconds=recipe.limits.max_duration.total_seconds(),
        links={"self": own, "runs": f"{own}/runs"},
    )


def _tool(tool: ToolReport, doors: Doors) -> ToolOut:
    return ToolOut(
        name=tool.name,
        module=tool.module,
        summary=tool.summary,
        approval=tool.approval,
        approvers=list(tool.approvers),
        idempotent=tool.idempotent,
        timeout_seconds=tool.timeout_seconds,
        tool_version=tool.tool_version,
        policy_version=tool.policy_version,
        declaration=dict(tool.schema),
        workflows=sorted(w.name for w in doors.workflows.values() if tool.name in w.recipe.callable),
    )
