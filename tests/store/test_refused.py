"""Webhooks that were not taken: kept for people to look at, bounded, and never worked on."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON

from orchestrator.domain.consent import Actor
from orchestrator.engine import webhooks
from orchestrator.errors import ConflictError
from orchestrator.gemini.headers import _VISIBLE_NO_DOT
from orchestrator.store import inbox, ledger
from orchestrator.store.inbox import Arrived, DeliveryVerdict, delivery_t
from orchestrator.store.refused_webhooks import BODY_BYTES, Refused, keep, refused

SECOND = timedelta(seconds=1)
WHY = "no signature matches"


def forged(name: str = "msg_1", body: bytes = b"{}", seconds: int = 0, why: str = WHY) -> Refused:
    headers = {"webhook-id": name, "webhook-timestamp": "1795262400"}
    return refused(headers, body, why, at=NOON + seconds * SECOND)


def listed(s: Session, verdict: DeliveryVerdict | None = DeliveryVerdict.REFUSED) -> list[str]:
    return [r["id"] for r in ledger.deliveries(s, limit=100, verdict=verdict).rows]


def test_one_is_kept_with_why_and_repeats_are_counted(s: Session) -> None:
    keep(s, [forged()])
    keep(s, [forged()._replace(times=3), forged(why="the timestamp is too far from now")])
    row = ledger.delivery(s, forged().id)
    assert (row["verdict"], row["state"], row["note"]) == ("refused", "done", f"refused: {WHY}")
    assert (row["duplicates"], row["timestamp"], row["handled_at"]) == (3, 1_795_262_400, NOON)
    assert len(listed(s)) == 2


@pytest.mark.parametrize("stamp", ["", "yesterday", "9" * 13, "-1", "١٧"])
def test_a_timestamp_that_is_none_and_a_long_body(s: Session, stamp: str) -> None:
    body = b"\0x" * BODY_BYTES
    one = refused({"webhook-timestamp": stamp}, body, "x" * 5_000, at=NOON)
    keep(s, [one])
    row = ledger.delivery(s, one.id)
    assert (row["timestamp"], bytes(row["body"])) == (0, body[:BODY_BYTES])
    assert row["note"].endswith(f"x; the first {BODY_BYTES} of {2 * BODY_BYTES} bytes are kept")
    assert len(row["note"]) < 500


def test_it_meets_no_webhook_that_is_taken(s: Session) -> None:
    """Nor can a sender reach one by choosing its id: what is taken has no dot in it."""
    assert not _VISIBLE_NO_DOT.fullmatch(forged().id.encode())
    keep(s, [forged("msg_1")])
    inbox.put(s, [Arrived("msg_1", "interaction.completed", "i1", 1, b"{}", NOON)])
    assert [w.id for w in inbox.waiting(s, 9)] == ["msg_1"], "and the forged one waits for nobody"
    assert (listed(s, None), listed(s)) == (["msg_1"], [forged("msg_1").id])


def test_it_is_never_worked_on(s: Session) -> None:
    keep(s, [forged()])
    assert webhooks.sift(s, 9) == ([], [])
    assert inbox.stored(s) is None, "nobody is told of it"
    with pytest.raises(ConflictError, match=WHY):
        ledger.replay(s, forged().id, Actor("api:ops", "ops", "api"), "", NOON)
    assert not inbox.again(s, forged().id, "all the same")
    assert webhooks.sift(s, 9) == ([], [])


def test_the_oldest_give_way_to_new_ones_and_never_the_genuine(s: Session) -> None:
    inbox.put(s, [Arrived("msg_1", "interaction.completed", "i1", 1, b"{}", NOON - SECOND)])
    for n in range(0, 30, 10):
        keep(s, [forged(f"m{i}", seconds=i) for i in range(n, n + 10)], 12)
    assert listed(s) == [forged(f"m{i}").id for i in range(29, 17, -1)]
    assert listed(s, None) == ["msg_1"]
    assert inbox.prune(s, NOON + 25 * SECOND, 9) == 7
    assert s.connection().execute(sa.select(sa.func.count()).select_from(delivery_t)).scalar() == 6
