"""The judge: what the ledger, the stand-in Gemini and the record must agree on after a crash."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.interactions import Interaction

Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: an effect, its call's id, and when it happened (Unix seconds)."""

    key: str
    tool: str
    run: str
    at: float


def entries(ledger: Path) -> list[Entry]:
    """Every effect that happened, oldest first."""
    books = [*ledger.parent.glob(ledger.name), *ledger.parent.glob(f"{ledger.name}.call_*")]
    lines = (line for book in books for line in book.read_text().splitlines())
    return sorted((Entry(**json.loads(line)) for line in lines), key=attrgetter("at"))


def judge(runs: Sequence[Run], happened: Sequence[Entry], kills: Sequence[float]) -> None:
    """No effect twice, none without its call, one for each call that is said to have succeeded.

    Args:
        runs: All runs there are, as the API shows them, each at rest.
        kills: When the process was killed, in Unix seconds.
    """
    effects = Counter(e.key for e in happened)
    doubled = {key: n for key, n in effects.items() if n > 1}
    assert not doubled, f"effects that happened more than once: {doubled}"
    calls = {call["id"]: call for run in runs for call in run["calls"]}
    assert set(effects) <= set(calls), "effects of calls that no record knows"
    for run in runs:
        _judge_run(run, effects, kills)
    for call in calls.values():
        if call["outcome"] == "succeeded":
            assert effects[call["id"]] == 1, f"said to have succeeded, and did not happen: {call}"


def _judge_run(run: Run, effects: Mapping[str, int], kills: Sequence[float]) -> None:
    if run["status"] == "completed":
        assert all(c["outcome"] == "succeeded" for c in run["calls"]), run
        assert all(effects[c["id"]] == 1 for c in run["calls"]), run
        return
    assert run["status"] == "attention", f"{run['status']}: {run['reason']}"
    doubted = [c for c in run["calls"] if c["status"] == "in_doubt"]
    assert doubted, f"attention without a call in doubt: {run['reason']}"
    for call in doubted:
        assert not call["idempotent"], f"an idempotent call was not started again: {call}"
        began = datetime.fromisoformat(call["started_at"]).timestamp()
        assert any(began <= kill for kill in kills), f"in doubt though nothing was killed: {call}"


def judge_chain(runs: Sequence[Run], gemini: Emulator) -> list[Interaction]:
    """No turn goes on twice, and nothing came of an orphan; returns the orphans."""
    made = gemini.interactions.all()
    chain = {t["interaction_id"] for run in runs for t in run["turns"]}
    asked = {c["call_id"] for run in runs for c in run["calls"]}
    orphans = [i for i in made if i.id not in chain]
    for orphan in orphans:
        assert not orphan.children, f"an orphan was continued: {orphan.id}"
        assert not (orphan.pending & asked), f"an orphan was acted on: {orphan.id}"
    for interaction in made:
        heirs = [i.id for i in made if i.parent is interaction and i.id in chain]
        assert len(heirs) <= 1, f"{interaction.id} goes on in {heirs}"
    return orphans


def stopped(interaction: Interaction, gemini: Emulator) -> bool:
    """It has ended; one that waits for results cannot be cancelled at Gemini, only asked to."""
    if interaction.status == "requires_action":
        wanted = f"/interactions/{interaction.id}/cancel"
        return any(str(r["path"]).endswith(wanted) for r in gemini.requests)
    return interaction.status not in ("queued", "in_progress")
