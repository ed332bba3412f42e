"""What is approved is what runs: one digest over all of it, made anew before it runs.

SHA-256 over RFC 8785 canonical JSON. Numbers are fixed by the tool's schema before they get here,
so that 1, 1.0 and "1" cannot share a digest.
"""

import hashlib
from typing import Any

import rfc8785

from orchestrator.domain.assessment import Assessment, Finding
from orchestrator.domain.consent import SEAL, TENANT, Approval, Preview
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.model import Recipe, Run
from orchestrator.domain.plain import canonical
from orchestrator.domain.values import Value, replace
from orchestrator.engine.ports import ToolkitPort


def assess(
    toolkit: ToolkitPort,
    run: Run,
    interaction_id: str,
    call: FunctionCall,
    preview: Preview | None = None,
    *,
    about: Approval | None = None,
) -> Assessment:
    """What policy says about a wished call now, sealed, with what it would do where that is known.

    Args:
        about: The question it is to be compared with, which may have been sealed by an earlier release.
    """
    return sealed(toolkit.find(run.acting, call), run, interaction_id, call, preview, about=about)


class Assessed(Value):
    """The calls of a reading, as policy was asked about them while the run acted by that recipe."""

    acting: Recipe
    calls: tuple[Assessment, ...]


def assess_all(
    toolkit: ToolkitPort, run: Run, snapshot: Snapshot, before: Assessed | None = None
) -> Assessed:
    """What policy says about all calls of a reading.

    Nothing follows from too many but the run's end: no more is found out about them than that.

    Args:
        before: What was found outside of the transaction that asks: how long the calls take is up to whoever
            wrote them, and nobody else could write meanwhile. It stands while the run acts as it did.
    """
    if before is not None and before.acting == run.acting:
        return before
    calls = snapshot.calls[: run.recipe.limits.max_calls_per_turn + 1]
    return Assessed(run.acting, tuple(assess(toolkit, run, snapshot.interaction_id, c) for c in calls))


def sealed(
    finding: Finding,
    run: Run,
    interaction_id: str,
    call: FunctionCall,
    preview: Preview | None = None,
    *,
    about: Approval | None = None,
) -> Assessment:
    """The same, of what the toolkit has said about the call already."""
    whole: dict[str, Any] = {
        "run": run.id,
        "workflow": run.recipe.workflow,
        "interaction": interaction_id,
        "call": call.id,
        "tool": call.name,
        "tool_version": finding.tool_version,
        "policy_version": finding.policy_version,
        "arguments": dict(finding.arguments),
    }
    if preview is not None:
        whole["preview"] = {"text": preview.text, "trouble": preview.trouble}
    return Assessment(
        call_id=call.id,
        tool=call.name,
        ruling=finding.ruling,
        arguments=finding.arguments,
        reason=finding.reason,
        digest=_digest({**whole, "tenant": TENANT}),
        former=_digest(whole) if about is not None and about.seal != SEAL else "",
        idempotent=finding.idempotent,
        terms=finding.terms and replace(finding.terms, collect=run.recipe.collect),
        previews=finding.previews,
        preview_required=finding.preview_required,
        preview=preview,
    )


def _digest(sealed: dict[str, Any]) -> str:
    known = canonical(sealed)
    return hashlib.sha256(rfc8785.dumps(sealed) if known is None else known).hexdigest()
