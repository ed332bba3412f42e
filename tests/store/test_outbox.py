"""What must be done: asked for once, claimed by one, settled under the claim's own token."""

import asyncio
from datetime import datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session
from support.clock import NOON

from orchestrator.domain.effects import SURVIVES_CLOSING, Effect, EffectKind
from orchestrator.store import claims, outbox
from orchestrator.store.claims import Claimed, Hold
from orchestrator.store.database import Database
from orchestrator.store.tables import EffectRow, EffectState, table

LEASE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)
ALL = tuple(EffectKind)
FETCH = EffectKind.FETCH_INTERACTION
effect_t = table(EffectRow)


def ask(
    s: Session, kind: EffectKind = FETCH, subject: str = "i1", due: datetime = NOON, run: str = "r1"
) -> None:
    outbox.add(s, run, [Effect(kind, subject, due)])


def take(s: Session, now: datetime = NOON) -> list[Claimed]:
    due = claims.due(s, now, 50, ALL)
    return [c for i, _ in due if (c := claims.claim(s, i, now, Hold.at(now, LEASE))) is not None]


def row(s: Session, subject: str = "i1") -> sa.RowMapping:
    return s.connection().execute(sa.select(effect_t).where(effect_t.c.subject == subject)).mappings().one()


def test_asked_twice_is_one_row_at_the_earlier_time(s: Session) -> None:
    ask(s, due=NOON + SECOND)
    ask(s, due=NOON + 9 * SECOND)
    assert row(s)["due_at"] == NOON + SECOND
    ask(s, due=NOON)
    assert (row(s)["due_at"], row(s)["wanted"], row(s)["state"]) == (NOON, 3, EffectState.PENDING)


def test_runs_do_not_share_effects(s: Session) -> None:
    ask(s, run="r1")
    ask(s, run="r2")
    ask(s, run="")
    assert {c.run_id for c in take(s)} == {"r1", "r2", ""}


@pytest.mark.parametrize(("offset", "due"), [(-SECOND, False), (timedelta(0), True), (SECOND, True)])
def test_nothing_is_due_before_its_time(s: Session, offset: timedelta, due: bool) -> None:
    ask(s, due=NOON)
    assert bool(claims.due(s, NOON + offset, 10, ALL)) is due
    assert claims.next_due(s) == NOON


def test_only_the_kinds_with_room_and_no_more_than_wanted(s: Session) -> None:
    for n in range(5):
        ask(s, subject=f"i{n}", due=NOON - n * SECOND)
    ask(s, EffectKind.EXECUTE_TOOL, "c1")
    assert claims.due(s, NOON, 10, [EffectKind.END_RUN]) == []
    found = claims.due(s, NOON, 3, [FETCH])
    assert len(found) == 3
    oldest = s.connection().execute(sa.select(effect_t.c.id).where(effect_t.c.subject == "i4")).scalar_one()
    assert found[0][0] == oldest


def test_a_claim_excludes_until_its_lease_is_over(s: Session) -> None:
    ask(s)
    (mine,) = take(s)
    assert (mine.kind, mine.subject, mine.attempts, mine.wanted) == (FETCH, "i1", 1, 1)
    assert take(s, NOON + LEASE - SECOND) == []
    assert claims.next_due(s) == NOON + LEASE
    (theirs,) = take(s, NOON + LEASE)
    assert theirs.token != mine.token
    assert theirs.attempts == 2


def test_an_old_token_settles_nothing(s: Session) -> None:
    ask(s)
    (mine,) = take(s)
    (theirs,) = take(s, NOON + LEASE)
    for settled in (
        claims.done(s, mine),
        claims.retry(s, mine, NOON, "x"),
        claims.give_up(s, mine, "x"),
        claims.renew(s, mine, NOON + LEASE),
    ):
        assert settled is False
    assert row(s)["claim"] == theirs.token
    assert claims.done(s, theirs) is True
    assert claims.done(s, theirs) is False
    assert row(s)["state"] == EffectState.DONE
    assert take(s, NOON + timedelta(days=1)) == []


def test_a_renewed_lease_holds_longer(s: Session) -> None:
    ask(s)
    (mine,) = take(s)
    assert claims.renew(s, mine, NOON + 20 * SECOND + LEASE)
    assert take(s, NOON + LEASE) == []
    assert len(take(s, NOON + 50 * SECOND)) == 1


def test_wanted_again_while_it_is_performed(s: Session) -> None:
    ask(s)
    (mine,) = take(s)
    ask(s, due=NOON + SECOND)
    assert row(s)["state"] == EffectState.CLAIMED
    assert claims.done(s, mine)
    assert row(s)["state"] == EffectState.PENDING
    (again,) = take(s, NOON + SECOND)
    assert again.attempts == 1
    assert claims.done(s, again)
    assert row(s)["state"] == EffectState.DONE


def test_a_wish_for_now_is_not_put_off_by_one_for_later(s: Session) -> None:
    """A webhook asks while the reading is under way; then the reading's own watch is asked for."""
    ask(s)
    (mine,) = take(s)
    ask(s, due=NOON + SECOND)
    ask(s, due=NOON + timedelta(hours=6))
    claims.done(s, mine)
    assert len(take(s, NOON + SECOND)) == 1


def test_asked_again_after_it_was_done_or_given_up(s: Session) -> None:
    for settle in (lambda c: claims.done(s, c), lambda c: claims.give_up(s, c, "no"), None):
        ask(s, due=NOON)
        if settle is None:
            outbox.drop(s, "r1", [f"{FETCH}:i1"])
        else:
            settle(take(s, NOON)[0])
        assert claims.due(s, NOON + timedelta(days=9), 9, ALL) == []
        ask(s, due=NOON + SECOND)
        assert (row(s)["state"], row(s)["due_at"]) == (EffectState.PENDING, NOON + SECOND)
        claims.done(s, take(s, NOON + SECOND)[0])


def test_retry_waits_and_counts(s: Session) -> None:
    ask(s)
    for attempt in (1, 2, 3):
        (mine,) = take(s, NOON + (attempt - 1) * 10 * SECOND)
        assert (mine.attempts, mine.error) == (attempt, "" if attempt == 1 else "busy")
        assert claims.retry(s, mine, NOON + attempt * 10 * SECOND, "busy")
        assert take(s, NOON + attempt * 10 * SECOND - SECOND) == []


def test_what_counts_for_none_is_no_try_and_one_cut_off_after_it_is(s: Session) -> None:
    ask(s)
    for turn in range(3):
        (mine,) = take(s, NOON + turn * SECOND)
        assert mine.attempts == 1
        assert claims.retry(s, mine, NOON + (turn + 1) * SECOND, "slow down", counts=False)
    (cut_off,) = take(s, NOON + 3 * SECOND)
    (mine,) = take(s, NOON + 3 * SECOND + LEASE)
    assert (cut_off.attempts, mine.attempts) == (1, 2)


def test_buried_is_kept_to_be_seen(s: Session) -> None:
    ask(s)
    (mine,) = take(s)
    with structlog.testing.capture_logs() as logs:
        assert claims.give_up(s, mine, "x" * 5000)
        assert not claims.give_up(s, mine, "too late")
    (said,) = logs
    assert (said["event"], said["effect"], said["run_id"]) == ("effect_given_up", f"eff_{mine.id}", "r1")
    assert said["why"] == "x" * 1000
    assert (row(s)["state"], len(row(s)["error"])) == (EffectState.DEAD, 1000)


def test_dropping_leaves_what_is_being_performed_and_other_runs(s: Session) -> None:
    ask(s, subject="claimed")
    (mine,) = take(s)
    ask(s, subject="waiting")
    ask(s, subject="waiting", run="r2")
    outbox.drop(s, "r1", [f"{FETCH}:claimed", f"{FETCH}:waiting"])
    states = dict(
        s.connection().execute(sa.select(effect_t.c.run_id + effect_t.c.subject, effect_t.c.state)).all()
    )
    assert states == {
        "r1claimed": EffectState.CLAIMED,
        "r1waiting": EffectState.DROPPED,
        "r2waiting": EffectState.PENDING,
    }
    assert claims.done(s, mine)
    outbox.drop(s, "r1", [])


def test_after_the_end_only_tidying_is_left(s: Session) -> None:
    for kind in EffectKind:
        ask(s, kind, "x")
        ask(s, kind, "x", run="r2")
    outbox.drop_all(s, "r1")
    left = {c.kind for c in take(s) if c.run_id == "r1"}
    assert left == SURVIVES_CLOSING
    assert EffectKind.EXECUTE_TOOL not in SURVIVES_CLOSING
    assert EffectKind.CREATE_INTERACTION not in SURVIVES_CLOSING


def test_a_restart_frees_what_the_dead_process_held(s: Session) -> None:
    ask(s)
    ask(s, subject="later", due=NOON + timedelta(hours=1))
    (mine,) = take(s)
    assert claims.release_all(s, NOON + SECOND) == 1
    assert claims.done(s, mine) is False
    (again,) = take(s, NOON + SECOND)
    assert again.attempts == 2


@pytest.mark.asyncio
async def test_claimed_by_exactly_one_of_many(database: Database) -> None:
    await database.write(lambda s: outbox.add(s, "r1", [Effect(FETCH, f"i{n}", NOON) for n in range(40)]))
    ids = [i for i, _ in await database.read(claims.due, NOON, 100, ALL)]
    assert len(ids) == 40
    taken = await asyncio.gather(
        *(database.write(claims.claim, i, NOON, Hold.at(NOON, LEASE)) for i in ids * 4)
    )
    assert sorted(claim.id for claim in taken if claim is not None) == sorted(ids)


def test_what_was_done_for_nobody_is_forgotten_after_a_while(s: Session) -> None:
    for run_id, subject in (("", "old"), ("run_1", "kept"), ("", "waiting")):
        outbox.add(s, run_id, [Effect(EffectKind.FETCH_INTERACTION, subject, NOON)])
    for effect in take(s):
        if effect.subject != "waiting":
            claims.done(s, effect)
    outbox.add(s, "", [Effect(EffectKind.FETCH_INTERACTION, "new", NOON + timedelta(days=9))])
    assert claims.prune(s, NOON, 9) == 0
    assert claims.prune(s, NOON + timedelta(days=8), 9) == 1
    left = s.connection().execute(sa.select(table(EffectRow).c.subject)).scalars()
    assert set(left) == {"kept", "waiting", "new"}


@pytest.mark.asyncio
async def test_done_where_it_was_claimed_unless_asked_for_again(database: Database) -> None:
    def job(subject: str, again: bool, s: Session) -> None:
        ask(s, subject=subject)
        claimed = claims.claim(s, ("r1", f"{FETCH}:{subject}"), NOON, Hold.at(NOON, LEASE))
        assert claimed is not None
        if again:
            ask(s, subject=subject)
        assert claims.done(s, claimed)
        assert [a.subject for a in outbox.ripe(s, "r1", NOON)] == ([subject] if again else [])

    await database.write(partial(job, "once", False))
    await database.write(partial(job, "twice", True))
    states = [await database.read(lambda s, of=of: row(s, of)["state"]) for of in ("once", "twice")]
    assert states == [EffectState.DONE, EffectState.PENDING]


@pytest.mark.asyncio
async def test_done_is_said_by_the_last_who_claimed_it_in_a_transaction(database: Database) -> None:
    def job(s: Session) -> tuple[bool, bool]:
        ask(s)
        first, second = (
            claims.claim(s, ("r1", f"{FETCH}:i1"), at, Hold.at(at, LEASE)) for at in (NOON, NOON + LEASE)
        )
        assert first is not None
        assert second is not None
        return claims.done(s, first), claims.done(s, second)

    assert await database.write(job) == (False, True)
