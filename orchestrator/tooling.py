"""The tools of this service: those the settings list and our own, under the policy the settings set."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

import msgspec

from orchestrator.differing_configs import Known
from orchestrator.domain import resubmission
from orchestrator.domain.consent import Terms
from orchestrator.domain.values import replace
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings, ToolOverride
from orchestrator.toolkit import Tool, Toolkit, human, load_modules, longjobs, media
from orchestrator.toolkit.confirm import confirming
from orchestrator.toolkit.policy import Forbidden

HASH_DIGITS: Final = 16


def toolkit(settings: Settings) -> Toolkit:
    """The tools the settings list, under the policy they set.

    Raises:
        ConfigError: A module that does not load, a policy that does not fit, or a workflow that
            names a tool nobody registered.
    """
    overrides = settings.tools.overrides
    tools = [
        replace(t, timeout_seconds=seconds)
        if (seconds := _execution_timeout(overrides.get(t.name))) is not None
        else t
        for t in load_modules(Path(settings.tools.folder), settings.tools.modules)
    ]
    registered = Toolkit([*tools, *built_in(settings)], **rules(settings))
    known = {t.name for t in registered.tools}
    for name, workflow in settings.workflows.items():
        for place, wanted in workflow.wanted:
            if wanted not in known:
                raise ConfigError(
                    f"workflows.{name}.{place}: there is no tool {wanted!r};"
                    f" registered are {', '.join(sorted(known)) or 'none'}"
                )
    return registered


def built_in(settings: Settings) -> tuple[Tool, ...]:
    """Tools of our own that some workflow names."""
    workflows = settings.workflows.items()
    steps = [(name, step) for name, workflow in workflows for step in workflow.steps]
    wanted = {tool for _, workflow in workflows for _, tool in workflow.wanted}
    wanted |= {step.tool_of(name) for name, step in steps}
    wanted |= _resubmitting(settings, wanted)
    models = {"video_model": settings.jobs.video_model, "batch_model": settings.jobs.batch_model}
    asked = tuple(tool for tool in (human.TOOL, media.TOOL) if tool.name in wanted)
    approvals = (confirming(s.tool_of(name)) for name, s in steps if s.kind == "approval")
    return (*asked, *longjobs.built_in(wanted, **models), *approvals)


def _resubmitting(settings: Settings, wanted: Collection[str]) -> set[str]:
    """Tools no workflow names, where such jobs are made and somebody may decide, or where told of."""
    terms = settings.default_terms()
    decided = bool(terms.approvers or terms.stages)
    again = {
        resubmission.RESUBMIT_BATCH: longjobs.RUN_BATCH,
        resubmission.RESUBMIT_VIDEO: longjobs.GENERATE_VIDEO,
    }
    return {
        name
        for name, first in again.items()
        if (decided and first in wanted) or name in settings.tools.overrides
    }


class Rules(TypedDict):
    """The policy as the toolkit takes it."""

    overrides: Mapping[str, Mapping[str, Any]]
    workflows: Mapping[str, Mapping[str, Mapping[str, Any]]]
    defaults: Terms
    roles: Mapping[str, Sequence[str]]
    forbidden: Sequence[Forbidden]


def rules(settings: Settings) -> Rules:
    """What config.yaml says about calls, in the toolkit's words."""
    return Rules(
        overrides={name: override.said() for name, override in settings.tools.overrides.items()},
        workflows={
            name: {
                **{tool: override.said() for tool, override in workflow.overrides.items()},
                **{s.tool_of(name): s.policy.said() for s in workflow.steps if s.policy is not None},
            }
            for name, workflow in settings.workflows.items()
        },
        defaults=settings.default_terms(),
        roles=settings.approvals.roles,
        forbidden=[Forbidden(f.tool, f.when, f.reason) for f in settings.approvals.forbidden],
    )


def _execution_timeout(override: ToolOverride | None) -> float | None:
    return override.execution_timeout_seconds if override else None


def known(settings: Settings, tools: Toolkit) -> Known:
    """What decides about calls in this process."""
    return Known(
        tools={tool.name: tool.version for tool in tools.tools},
        rules={
            tool.name: _hash({workflow: gate.version for workflow, gate in tools.gates(tool.name).items()})
            for tool in tools.tools
        },
        workflows={name: _hash(settings.recipe(name)) for name in settings.workflows},
    )


def _hash(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:HASH_DIGITS]
