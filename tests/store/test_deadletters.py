"""Effects that people look after, and the numbers for monitors, on both databases."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import ANNA, recipe

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import Run, RunStatus
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import claims, deadletters, inbox, numbers, outbox, run_rows, runs, views
from orchestrator.store.claims import Hold
from orchestrator.store.outbox import effect_t

SECOND = timedelta(seconds=1)
LEASE = 30 * SECOND
TIMERS = [
    EffectKind.EXPIRE_APPROVAL,
    EffectKind.REMIND_APPROVAL,
    EffectKind.END_CREATE_GRACE,
    EffectKind.END_RUN,
    EffectKind.WARN_FORGETTING,
]
TIDYING = [EffectKind.CANCEL_INTERACTION, EffectKind.UPDATE_APPROVAL, EffectKind.NOTIFY_APPROVAL]
TIDYING += [EffectKind.SPREAD_APPROVAL, EffectKind.COPY_APPROVAL, EffectKind.UPDATE_BATCH]
TIDYING += [EffectKind.UPDATE_DIGEST, EffectKind.UPLOAD_MEDIA]
TIDYING += [EffectKind.POST_INQUIRY, EffectKind.UPDATE_INQUIRY, EffectKind.SEND_CALLBACK]
TIDYING += [EffectKind.CANCEL_JOB]
ACTING = sorted(set(EffectKind) - set(TIDYING))


def opened(s: Session, run_id: str = "run_1", *, closed: bool = False) -> Run:
    run = runs.insert(s, open_run(run_id, recipe(), "x", ANNA, now=NOON), now=NOON)
    if closed:
        change = {"status": RunStatus.CANCELLED, "closed_at": NOON}
        s.connection().execute(run_rows.run_t.update().where(run_rows.run_t.c.id == run_id).values(change))
        s.commit()  # what the transaction had seen is forgotten
    return run


def ask(
    s: Session,
    kind: EffectKind = EffectKind.UPDATE_APPROVAL,
    subject: str = "x1",
    run_id: str = "run_1",
    due: datetime = NOON,
    **columns: Any,
) -> int:
    """An effect, brought to where a test wants it; returns its id."""
    outbox.add(s, run_id, [Effect(kind, subject, due)])
    which = sa.and_(effect_t.c.run_id == run_id, effect_t.c.key == f"{kind}:{subject}")
    if columns:
        s.connection().execute(effect_t.update().where(which).values(columns))
    return s.connection().execute(sa.select(effect_t.c.id).where(which)).scalar_one()


def row(s: Session, effect_id: int) -> dict[str, Any]:
    found = s.connection().execute(sa.select(effect_t).where(effect_t.c.id == effect_id)).mappings().one()
    return dict(found)


# ------------------------------------------------------------------ listing


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("state", ["dead", "claimed"])
def test_the_newest_first_page_by_page(s: Session, state: Any, limit: int) -> None:
    made = [ask(s, subject=f"x{n}", state=state) for n in range(5)]
    ask(s, subject="other")
    assert _paged(s, state, limit) == made[::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_what_waits_by_its_time_page_by_page(s: Session, limit: int) -> None:
    spans = [3, 1, 2, 1, 1]
    made = [ask(s, subject=f"x{n}", due=NOON + span * SECOND) for n, span in enumerate(spans)]
    ask(s, subject="other", state="dead")
    assert _paged(s, "pending", limit) == [made[n] for n in (1, 3, 4, 2, 0)]


def _paged(s: Session, state: Any, limit: int) -> list[int]:
    found, after = [], None
    while True:
        page = deadletters.effects(s, state=state, limit=limit, after=after)
        assert len(page.rows) <= limit
        found += [r["id"] for r in page.rows]
        if (after := page.next) is None:
            return found


def test_of_one_run(s: Session) -> None:
    ask(s, run_id="run_2", state="dead")
    mine = ask(s, state="dead", error="Slack refused (message_not_found)", attempts=3)
    [found] = deadletters.effects(s, state="dead", limit=9, run_id="run_1").rows
    assert (found["id"], found["attempts"], found["error"]) == (mine, 3, "Slack refused (message_not_found)")
    assert "claim" not in found


# ------------------------------------------------------------------ trying again


@pytest.mark.parametrize("tried", [0, 1, 20])
def test_a_dead_one_is_due_now_and_was_tried(s: Session, tried: int) -> None:
    opened(s)
    effect = ask(s, state="dead", attempts=tried, due=NOON - SECOND)
    told = deadletters.retry(s, effect, ANNA, "Slack is back", NOON)
    after = row(s, effect)
    assert (after["state"], after["due_at"], after["attempts"]) == ("pending", NOON, min(tried, 1))
    assert (told["id"], told["state"]) == (effect, "pending")
    assert claims.claim(s, effect, NOON, Hold.at(NOON, LEASE)) is not None


def test_a_post_that_may_have_got_through_is_still_looked_for(s: Session) -> None:
    """`seen_before` of the next post is `attempts > 1` once claimed."""
    opened(s)
    for n, columns in enumerate([{"state": "dead", "attempts": 20}, {"attempts": 1}]):
        effect = ask(s, EffectKind.REQUEST_APPROVAL, f"a{n}", due=NOON + 40 * SECOND, **columns)
        deadletters.retry(s, effect, ANNA, "", NOON)
        assert row(s, effect)["due_at"] == NOON + deadletters.LOOK_AGAIN
        claimed = claims.claim(s, effect, NOON, Hold.at(NOON + 9 * SECOND, LEASE))
        assert claimed is not None
        assert claimed.attempts == 2


def test_one_that_waits_is_hurried_and_never_put_off(s: Session) -> None:
    opened(s)
    far = ask(s, EffectKind.FETCH_INTERACTION, "i1", due=NOON + 30 * SECOND, attempts=4)
    near = ask(s, EffectKind.REQUEST_APPROVAL, "a1", due=NOON + SECOND)
    for effect in (far, near):
        deadletters.retry(s, effect, ANNA, "", NOON)
    assert (row(s, far)["due_at"], row(s, far)["attempts"]) == (NOON, 4)
    assert row(s, near)["due_at"] == NOON + SECOND


@pytest.mark.parametrize("kind", TIMERS)
def test_a_timer_keeps_its_time(s: Session, kind: EffectKind) -> None:
    opened(s)
    effect = ask(s, kind, due=NOON + 30 * SECOND)
    with pytest.raises(ConflictError, match="timer"):
        deadletters.retry(s, effect, ANNA, "", NOON)
    assert row(s, effect)["due_at"] == NOON + 30 * SECOND


@pytest.mark.parametrize(
    ("state", "why"), [("claimed", "being performed"), ("done", "is done"), ("dropped", "dropped")]
)
@pytest.mark.parametrize("act", [deadletters.retry, deadletters.drop])
def test_what_does_not_rest_is_left_alone(s: Session, act: Any, state: str, why: str) -> None:
    run = opened(s)
    effect = ask(s, state=state)
    before = row(s, effect)
    with pytest.raises(ConflictError, match=why):
        act(s, effect, ANNA, "", NOON)
    assert row(s, effect) == before
    assert runs.load(s, run.id).seq == 1


@pytest.mark.parametrize("act", [deadletters.retry, deadletters.drop])
def test_an_unknown_effect_is_neither_retried_nor_dropped(s: Session, act: Any) -> None:
    with pytest.raises(NotFoundError):
        act(s, 2**62, ANNA, "", NOON)


# ------------------------------------------------------------------ giving up


@pytest.mark.parametrize("state", ["dead", "pending"])
@pytest.mark.parametrize("kind", TIDYING)
def test_tidying_up_may_be_given_up(s: Session, kind: EffectKind, state: str) -> None:
    opened(s)
    effect = ask(s, kind, state=state)
    assert deadletters.drop(s, effect, ANNA, "", NOON)["state"] == "dropped"
    assert claims.claim(s, effect, NOON, Hold.at(NOON, LEASE)) is None


@pytest.mark.parametrize("state", ["dead", "pending"])
@pytest.mark.parametrize("kind", ACTING)
def test_nothing_a_live_run_waits_for_is_given_up(s: Session, kind: EffectKind, state: str) -> None:
    run = opened(s)
    effect = ask(s, kind, state=state)
    with pytest.raises(ConflictError, match=r"run_1 would wait .* cancel the run"):
        deadletters.drop(s, effect, ANNA, "", NOON)
    assert row(s, effect)["state"] == state
    assert runs.load(s, run.id).seq == 1


@pytest.mark.parametrize("kind", list(EffectKind))
def test_behind_a_run_that_ended_anything_may_be_given_up(s: Session, kind: EffectKind) -> None:
    opened(s, closed=True)
    effect = ask(s, kind)
    assert deadletters.drop(s, effect, ANNA, "", NOON)["state"] == "dropped"


def test_a_look_at_what_nobody_knows_belongs_to_no_run(s: Session) -> None:
    first = ask(s, EffectKind.FETCH_INTERACTION, "i1", run_id="", state="dead")
    deadletters.retry(s, first, ANNA, "", NOON)
    assert deadletters.drop(s, first, ANNA, "", NOON)["state"] == "dropped"


# ------------------------------------------------------------------ the record


def test_the_record_says_who_did_it_and_the_run_stays_what_it_is(s: Session) -> None:
    before = opened(s)
    effect = ask(s, state="dead")
    deadletters.retry(s, effect, ANNA, "Slack is back", NOON + SECOND)
    deadletters.drop(s, effect, ANNA, "not worth it", NOON + 2 * SECOND)
    s.commit()
    after = runs.load(s, before.id)
    assert (after.seq, after.version) == (3, 3)
    assert (after.status, after.turn, after.reason) == (before.status, before.turn, before.reason)
    _, retried, dropped = views.events(s, before.id).rows
    assert (retried["kind"], retried["at"], retried["status"]) == ("EffectRetried", NOON + SECOND, "queued")
    assert retried["data"] == {
        "effect": effect,
        "kind": "update_approval",
        "subject": "x1",
        "reason": "Slack is back",
        "by": {"id": ANNA.id, "name": ANNA.name, "door": ANNA.door},
    }
    assert (dropped["kind"], dropped["data"]["reason"], dropped["refused"]) == (
        "EffectDropped",
        "not worth it",
        None,
    )


# ------------------------------------------------------------------ numbers


def test_nothing_is_counted_as_nothing(s: Session) -> None:
    counted = numbers.numbers(s, NOON)
    assert set(counted.live_runs) == {"queued", "running", "waiting", "resuming", "attention"}
    assert not any(counted.live_runs.values())
    assert (counted.due, counted.claimed, counted.dead) == ({}, {}, {})
    assert (counted.lag, counted.scheduled, counted.open_approvals) == (0.0, 0, 0)
    assert numbers.ended_runs(s) == {"completed": 0, "failed": 0, "cancelled": 0}


def test_what_is_there_is_counted(s: Session) -> None:
    opened(s)
    opened(s, "run_2")
    opened(s, "run_3", closed=True)
    ask(s, subject="x1", due=NOON - 7 * SECOND)
    ask(s, subject="x2", due=NOON - 3 * SECOND)
    ask(s, EffectKind.END_RUN, due=NOON)
    ask(s, EffectKind.END_RUN, run_id="run_2", due=NOON + SECOND)
    ask(s, subject="x3", state="claimed")
    ask(s, subject="x4", state="dead")
    ask(s, subject="x5", state="done", due=NOON - 99 * SECOND)
    inbox.put(s, [inbox.Arrived(f"m{n}", "interaction.completed", "i1", 0, b"{}", NOON) for n in range(2)])
    counted = numbers.numbers(s, NOON)
    assert counted.live_runs["queued"] == 2
    assert counted.due == {"update_approval": 2, "end_run": 1}
    assert (counted.claimed, counted.dead) == ({"update_approval": 1}, {"update_approval": 1})
    assert (counted.scheduled, counted.lag) == (1, 7.0)
    assert (counted.deliveries, counted.parked) == (2, 0)
    assert numbers.ended_runs(s)["cancelled"] == 1


@pytest.mark.parametrize("new_database_url", ["sqlite"], indirect=True)
def test_every_count_walks_an_index(s: Session) -> None:
    """Else a scrape would read every row there ever was."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cur: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    engine = s.get_bind()
    sa.event.listen(engine, "before_cursor_execute", note)
    numbers.numbers(s, NOON)
    numbers.ended_runs(s)
    for state in ("dead", "pending", "claimed"):
        deadletters.effects(s, state=state, limit=9, after=(NOON, 5))
    sa.event.remove(engine, "before_cursor_execute", note)
    assert len(asked) > 10
    for statement, parameters in asked:
        if statement.startswith("BEGIN"):
            continue
        plan = s.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        assert any("INDEX" in step[3] or "PRIMARY KEY" in step[3] for step in plan), (statement, plan)
