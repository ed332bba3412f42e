"""One occurrence becomes one run, in the transaction of whoever noticed it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.consent import Actor
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.triggers import Happened, acting
from orchestrator.domain.values import replace
from orchestrator.engine.armed import Armed, Fired
from orchestrator.engine.restarting import WantedRun, start
from orchestrator.errors import InvalidError, OversizeError
from orchestrator.store import triggers

REFUSED: Final = "occurrence "
"""How the error of a trigger begins whose newest occurrence did not fit."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What happened.

    Args:
        key: Unique within its trigger.
        at: Of `occurrence`, as a mapping sees it: `at`, and what else is known.
        seen: What it sees beside that.
        body_hash: To tell a delivery from another one under the same id.
        by: Who fired it, if somebody did.
    """

    key: str
    at: JsonObject
    seen: JsonObject = field(default_factory=dict)
    body_hash: str = ""
    note: str = ""
    by: Actor | None = None


def occur(s: Session, armed: Armed, occasion: Occasion, now: datetime) -> Fired:
    """Write it down and open its run; one that was there before is only counted.

    What does not fit the workflow is written down as refused: the same data would not fit later either.
    """
    name, key, note = armed.name, occasion.key, occasion.note
    if not triggers.happen(s, name, key, now, Happened.STARTED, note, occasion.body_hash):
        row = triggers.again(s, name, key, occasion.body_hash) or {}
        return Fired(key, Happened.KNOWN, row.get("run_id"), row.get("note", ""))
    failpoints.hit("after_occurrence")
    plain = {"key": key, "trigger": name, "local": "", "missed": 0, **occasion.at}
    try:
        text = armed.prepare({"occurrence": plain, **occasion.seen})
    except InvalidError as e:
        fired = _refused(s, name, key, f"{note}; {e}" if note else str(e))
        return replace(fired, oversize=isinstance(e, OversizeError))
    # Without a hash: the key says what it is, whatever it reads like by now.
    wish = WantedRun(armed.recipe, text, occasion.by or acting(name), f"trigger:{name}", key, "")
    run_id, _ = start(s, wish, now)
    triggers.came_to(s, name, key, Happened.STARTED, run_id, note)
    triggers.well(s, name)
    log.info("trigger_fired", trigger=name, occurrence=key, run_id=run_id)
    return Fired(key, Happened.STARTED, run_id, note)


def _refused(s: Session, name: str, key: str, why: str) -> Fired:
    triggers.came_to(s, name, key, Happened.REFUSED, None, why)
    triggers.failed(s, name, f"{REFUSED}{key}: {why}")
    log.warning("occurrence_refused", trigger=name, occurrence=key, why=why)
    return Fired(key, Happened.REFUSED, None, why)
