"""What must be done, as it is asked for. The row is the truth; who does it claims it (`claims`)."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.effects import SURVIVES_CLOSING, Effect, EffectKind, Urgency, key_of
from orchestrator.domain.values import Value
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.prepared import Prepared, insert_into, listed, words
from orchestrator.store.tables import EffectRow, EffectState, table

effect_t = table(EffectRow)
PREFIX: Final = "eff_"
"""Before an effect's number, wherever people see it."""


class Asked(Value):
    """An effect a transaction asked for."""

    run_id: str
    kind: EffectKind
    subject: str
    due_at: datetime

    @property
    def key(self) -> str:
        return key_of(self.kind, self.subject)


_ASKED: Final = "asked"
_BEFORE: Final = "asked before"
"""By those that share the COMMIT, and said what they ask for earlier."""
_HERE: Final = "claimed here"
"""What a transaction of `Database` claimed, with its token, unless asked for again since (PostgreSQL)."""


def _upsert(dialect: str) -> sa.Insert:
    new = insert_into(dialect)(effect_t)
    busy = effect_t.c.state == EffectState.CLAIMED
    asked = sa.or_(busy, effect_t.c.state == EffectState.PENDING)
    put_off = sa.and_(effect_t.c.state == EffectState.PENDING, effect_t.c.urgency == int(Urgency.NEXT))
    earlier = sa.or_(put_off, sa.and_(asked, effect_t.c.due_at < new.excluded.due_at))
    harder = sa.and_(asked, effect_t.c.urgency > new.excluded.urgency)
    upsert: sa.Insert = new.on_conflict_do_update(
        index_elements=["run_id", "key"],
        set_={
            "due_at": sa.case((earlier, effect_t.c.due_at), else_=new.excluded.due_at),
            "state": sa.case((busy, EffectState.CLAIMED), else_=EffectState.PENDING),
            "urgency": sa.case((harder, effect_t.c.urgency), else_=new.excluded.urgency),
            "attempts": sa.case((asked, effect_t.c.attempts), else_=0),
            "wanted": effect_t.c.wanted + 1,
        },
    )
    return upsert


_NEW: Final = (
    "run_id",
    "key",
    "kind",
    "subject",
    "due_at",
    "state",
    "urgency",
    "wanted",
    "attempts",
    "error",
)
_ADD = Prepared(_upsert, _NEW)


def add(s: Session, run_id: str, effects: Sequence[Effect]) -> None:
    """Ask for effects. One that already waits keeps the earlier time; one being performed is wanted again.

    Neither begins anew: whoever tries once more must know that an earlier try may have done it.
    One that there was no room for keeps its time too: asking more often does not help.
    """
    if not effects:
        return
    rows = [
        {
            "run_id": run_id,
            "key": effect.key,
            "kind": effect.kind,
            "subject": effect.subject,
            "due_at": effect.due_at,
            "state": EffectState.PENDING,
            "urgency": int(effect.urgency),
            "wanted": 1,
            "attempts": 0,
            "error": "",
        }
        for effect in effects
    ]
    _ADD.later_many(s, rows)
    here: dict[tuple[str, str], str] = s.info.get(_HERE, {})
    for effect in effects if here else ():
        here.pop((run_id, effect.key), None)
    note(s, (Asked(run_id, e.kind, e.subject, e.due_at) for e in effects))


_EVER = Prepared(
    sa.select(effect_t.c.id).where(
        effect_t.c.run_id == sa.bindparam("of_run"), effect_t.c.key == sa.bindparam("of_key")
    )
)


def add_once(s: Session, run_id: str, effects: Iterable[Effect]) -> None:
    """Ask for those that nobody has ever asked for, whatever became of them."""
    add(s, run_id, [e for e in effects if _EVER.first(s, of_run=run_id, of_key=e.key) is None])


def note(s: Session, asked: Iterable[Asked]) -> None:
    """Whoever carries hints is to hear of these, when the transaction ends."""
    known: dict[tuple[str, str], Asked] = s.info.setdefault(_ASKED, {})
    known.update({(a.run_id, a.key): a for a in asked})


def ripe(s: Session, run_id: str, now: datetime) -> list[Asked]:
    """What this transaction asked for that run and did not take, and is due now."""
    known: dict[tuple[str, str], Asked] = s.info.get(_ASKED, {})
    return [a for a in known.values() if a.run_id == run_id and a.due_at <= now]


def earliest_left(s: Session) -> datetime | None:
    """When the first of what this transaction asked for, and did not take, is due."""
    known: dict[tuple[str, str], Asked] = s.info.get(_ASKED, {})
    return min((a.due_at for a in known.values()), default=None)


def asked(s: Session, before: datetime) -> list[Asked]:
    """What this transaction asked for, due before that time, and did not take itself; said once."""
    begin(s)
    known: list[Asked] = s.info.pop(_BEFORE, [])
    return [a for a in dict.fromkeys(known) if a.due_at <= before]


def begin(s: Session) -> None:
    """What is asked for from here on; where jobs share a COMMIT, others' is theirs to go on with.

    One that several of them asked for at different times is hinted at for each: which counts the row says.
    """
    known: dict[tuple[str, str], Asked] = s.info.pop(_ASKED, {})
    s.info.setdefault(_BEFORE, []).extend(known.values())


def took(s: Session, run_id: str, key: str, token: str) -> None:
    """This transaction took that one itself, and holds its row."""
    s.info.get(_ASKED, {}).pop((run_id, key), None)
    if before := s.info.get(_BEFORE):
        before[:] = [a for a in before if (a.run_id, a.key) != (run_id, key)]
    if hold(s).wire.gathers:
        s.info.setdefault(_HERE, {})[run_id, key] = token


def took_here(s: Session, run_id: str, key: str) -> str | None:
    """The token under which it took it, if it was not asked for again since (PostgreSQL)."""
    here: dict[tuple[str, str], str] = s.info.get(_HERE, {})
    return here.get((run_id, key))


_COME_NEAR = Prepared(
    sa.select(effect_t.c.run_id, effect_t.c.kind, effect_t.c.subject, effect_t.c.due_at)
    .where(
        effect_t.c.state == EffectState.PENDING,
        effect_t.c.due_at > sa.bindparam("after", type_=effect_t.c.due_at.type),
        effect_t.c.due_at <= sa.bindparam("until", type_=effect_t.c.due_at.type),
    )
    .order_by(effect_t.c.due_at)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def come_near(s: Session, after: datetime, until: datetime, most: int) -> None:
    """Note what is due in that time as if it were asked for now."""
    rows = _COME_NEAR.rows(s, after=after, until=until, most=most)
    note(s, (Asked(r["run_id"], EffectKind(r["kind"]), r["subject"], r["due_at"]) for r in rows))


_IS_PENDING = sa.and_(effect_t.c.run_id == sa.bindparam("of_run"), effect_t.c.state == EffectState.PENDING)
_DROP = Prepared(
    effect_t.update()
    .where(_IS_PENDING, effect_t.c.key == sa.bindparam("of_key"))
    .values(state=EffectState.DROPPED, line="")
)
_DROP_THOSE = Prepared(
    lambda dialect: (
        effect_t.update()
        .where(_IS_PENDING, effect_t.c.key.in_(listed(dialect, "of_keys")))
        .values(state=EffectState.DROPPED, line="")
    )
)
_DROP_ALL = Prepared(
    effect_t.update()
    .where(_IS_PENDING, effect_t.c.kind.not_in(words(SURVIVES_CLOSING)))
    .values(state=EffectState.DROPPED, line="")
)


def drop(s: Session, run_id: str, keys: Collection[str]) -> None:
    """Nobody wants these any more. One that is being performed ends by itself, at the gate."""
    if len(keys) > 1 and not on_sqlite(s):
        _DROP_THOSE.later(s, of_run=run_id, of_keys=list(keys))
        return
    _DROP.later_many(s, [{"of_run": run_id, "of_key": key} for key in keys])


def drop_all(s: Session, run_id: str) -> None:
    """The run has ended: all that would act for it is dropped, tidying up is not."""
    _DROP_ALL.later(s, of_run=run_id)
