"""Approvals under everything that befalls them: no effect without a matching decision, every change noticed.

`HISTORIES=10000` plays as many as a release is held to; `python -m support.histories` names its seeds, too.
"""

import os
from collections.abc import Callable
from typing import Any, Final

import pytest
from support import histories

from orchestrator.domain import calls, entitlement, verdicts
from orchestrator.domain.consent import Approval
from orchestrator.domain.model import Run, ToolCall
from orchestrator.store import audit_check

pytestmark = pytest.mark.asyncio

COUNT: Final = int(os.environ.get("HISTORIES", "60"))
FIRST: Final = int(os.environ.get("HISTORIES_FIRST", "0"))


@pytest.mark.timeout(3600)
async def test_nothing_happens_without_a_matching_decision_and_every_change_is_noticed() -> None:
    found = await histories.main(FIRST, COUNT)
    happened = {"effects", "yes", "no", "edit", "policy", "refused", "poke stopped", "poke found"}
    assert happened <= {name for name, n in found.items() if n}


def _whatever_was_approved(run: Run, call: ToolCall, approval: Approval, event: Any, now: Any) -> Any:
    return calls._execute(run, call, event, now)


def _unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_gated", _whatever_was_approved)


def _anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entitlement, "refusal", lambda *about: None)


def _one_yes_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entitlement, "enough", lambda approval: True)


def _at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "already", lambda approval: "")
    monkeypatch.setattr(calls, "start_by", lambda run, approval, now: run.deadline)
    monkeypatch.setattr(verdicts, "start_by", lambda run, approval, now: run.deadline)


def _audit_believes_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_check, "compare", lambda conn: audit_check.Attested())


def _the_gate_believes_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_check, "doubts", lambda s, call: ())


@pytest.mark.parametrize(
    "mistake",
    [
        *(_unsealed, _anybody, _one_yes_is_enough, _at_any_time),
        *(_audit_believes_the_tables, _the_gate_believes_the_tables),
    ],
)
async def test_it_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mistake(monkeypatch)
    with pytest.raises(AssertionError) as e:
        await histories.main(FIRST, 300)
    assert "python -m support.histories --seed" in "".join(e.value.__notes__)
