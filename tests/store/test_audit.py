"""The audit: a chain in which every change shows, what is written there, and its head."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import rfc8785
import structlog
from audit_kit import ON_POSTGRESQL, SECRET, STORIES, WORDS, Row, all_entries, attested, noted, world_on
from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import ANNA, BEN, TERMS
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import TENANT, Actor, Edits, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.events import Choice
from orchestrator.domain.evidence import MOST_REFUSALS, SAME_REFUSALS, Entry, EntryKind, Sealed
from orchestrator.domain.values import replace
from orchestrator.engine import answers
from orchestrator.engine.audit_heads import AuditHeads
from orchestrator.errors import InvalidError, UnavailableError
from orchestrator.store import audit, audit_check
from orchestrator.store.chain import GENESIS, Head, hash_of, sha256_of, verify
from orchestrator.store.database import Database

# ------------------------------------------------------------------ the chain


def made(count: int) -> list[Row]:
    rows: list[Row] = []
    last = Head()
    for n in range(count):
        kind = EntryKind.DECIDED if n % 3 else EntryKind.VOTED
        row = audit._row(last, Entry(kind, f"run_{n % 5}", {"reason": f"because {n}"}, f"apr_{n}"), NOON)
        rows.append(row)
        last = Head(row["seq"], row["hash"])
    return rows


def edited(rows: list[Row], dice: random.Random) -> int:
    """A column of one entry says something else."""
    at = dice.randrange(len(rows))
    name = dice.choice([*rows[at]])
    old = rows[at][name]
    new: Any = old + timedelta(seconds=1) if name == "at" else old + 1 if name == "seq" else None
    if isinstance(old, str):
        spot = dice.randrange(len(old))
        new = old[:spot] + dice.choice("0x~") + old[spot + 1 :]
    rows[at] = {**rows[at], name: new if new != old else old + "!"}
    return at


def rehashed(rows: list[Row], dice: random.Random) -> int:
    """An entry is rewritten with a hash that fits it."""
    at = dice.randrange(len(rows))
    body = rows[at]["body"].replace("because", "although")
    rows[at] = {**rows[at], "body": body, "hash": hash_of(rows[at]["previous"], body)}
    return at


def deleted(rows: list[Row], dice: random.Random) -> int:
    at = dice.randrange(len(rows) - 1)  # the last one is a cut tail
    del rows[at]
    return at


def inserted(rows: list[Row], dice: random.Random) -> int:
    """An entry is put in, numbered and hashed like the real one that should stand there."""
    at = dice.randrange(len(rows))
    last = Head(rows[at - 1]["seq"], rows[at - 1]["hash"]) if at else Head()
    rows.insert(at, audit._row(last, Entry(EntryKind.DECIDED, "run_x"), NOON))
    return at + 1


def swapped(rows: list[Row], dice: random.Random) -> int:
    """Two entries change places; half of the time they take each other's number."""
    one, other = sorted(dice.sample(range(len(rows)), 2))
    numbers = rows[one]["seq"], rows[other]["seq"]
    rows[one], rows[other] = rows[other], rows[one]
    if dice.random() < 0.5:
        rows[one], rows[other] = {**rows[one], "seq": numbers[0]}, {**rows[other], "seq": numbers[1]}
    return one


def cut(rows: list[Row], dice: random.Random) -> int:
    at = dice.randrange(len(rows))
    del rows[at:]
    return at


def made_anew(rows: list[Row], dice: random.Random) -> int:
    """Everything from some entry on is written anew, in a chain that holds in itself."""
    at = dice.randrange(len(rows))
    last = Head(rows[at - 1]["seq"], rows[at - 1]["hash"]) if at else Head()
    for n in range(at, len(rows)):
        rows[n] = audit._row(last, Entry(EntryKind.DECIDED, "run_x", {"n": n}), NOON)
        last = Head(rows[n]["seq"], rows[n]["hash"])
    return at


def test_every_change_is_found() -> None:
    """P35: 1,000 random edits, deletions, insertions, swaps, cut tails."""
    whole = made(40)
    published = Head(40, whole[-1]["hash"])
    assert verify(whole, TENANT, published).head == published
    dice = random.Random(35)
    ways: list[Callable[[list[Row], random.Random], int]]
    ways = [edited, rehashed, deleted, inserted, swapped, cut, made_anew]
    for n in range(1050):
        rows = list(whole)
        at = ways[n % len(ways)](rows, dice)
        found = verify(rows, TENANT, published)
        assert found.broken is not None, f"{ways[n % len(ways)].__name__} at {at} is not found"
        if ways[n % len(ways)] is not made_anew:  # which shows where the head was published
            assert found.broken.seq in (at + 1, at + 2, 40), (ways[n % len(ways)].__name__, at, found)
            assert found.head.seq == found.broken.seq - 1


def test_only_a_published_head_tells_of_a_cut_tail() -> None:
    rows = made(5)
    assert verify(rows[:3], TENANT).broken is None
    assert verify([], TENANT, Head(1, rows[0]["hash"])).broken is not None
    assert verify(rows, TENANT, Head(3, rows[2]["hash"])).head.seq == 5  # it grew since


def test_a_head_is_read_as_it_was_published() -> None:
    head = Head(7, "a" * 64)
    assert Head.read(f" {head}\n") == head
    for wrong in ("", "7", "7:abc", f"-7:{'a' * 64}", f"7:{'A' * 64}"):
        with pytest.raises(InvalidError, match="SEQ:HASH"):
            Head.read(wrong)


def test_hashes_are_of_canonical_json() -> None:
    assert sha256_of({"b": 1.0, "a": "ä"}) == sha256_of({"a": "ä", "b": 1})
    assert sha256_of("a\n\u20ac\x7f\x01") == sha256_of(["a\n\u20ac\x7f\x01"][0])
    assert sha256_of("x") != sha256_of(["x"])
    for odd in ("\ud800", {"n": 2**64}, {"n": float("nan")}):
        assert sha256_of(odd).startswith("sorted:")


# ------------------------------------------------------------------ writing


@pytest.mark.asyncio
async def test_what_is_rolled_back_was_never_said(sqlite_url: str) -> None:
    database = Database(sqlite_url)

    def fails(s: Session) -> None:
        noted(s, "gone")
        raise ValueError

    try:
        jobs = [database.write(noted, "a", 2), database.write(fails), database.write(noted, "b")]
        done = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(d) for d in done] == [type(None), ValueError, type(None)]
        rows = await all_entries(database)
        assert [r["run_id"] for r in rows] == ["a_0", "a_1", "b_0"]
        assert rows[0]["previous"] == GENESIS
        assert verify(rows, TENANT).broken is None
    finally:
        database.close()


@pytest.mark.asyncio
@ON_POSTGRESQL
async def test_many_at_once_make_one_chain(database_url: str) -> None:
    """Two processes, each with many connections; whoever reads the head writes the next entry."""
    ours, theirs = Database(database_url, threads=8), Database(database_url, threads=8)
    try:
        await asyncio.gather(*(d.write(noted, f"{n}", 1 + n % 3) for n in range(40) for d in (ours, theirs)))
        rows = await all_entries(ours)
        assert len(rows) == 2 * sum(1 + n % 3 for n in range(40))
        assert verify(rows, TENANT).broken is None
    finally:
        ours.close()
        theirs.close()


@pytest.mark.asyncio
async def test_both_databases_bind_an_entry_alike(sqlite_url: str, postgres_url: str) -> None:
    facts = {"a": "\ud800 half", "t": 'ü 𝄞 \x00 " \\', "seq2": [1, {"z": None}], "z": Sealed({"x": 1.5})}
    entries = [Entry(EntryKind.RUN_OPENED, f"run_{n}", facts, "" if n else "appr_1") for n in range(3)]

    def job(s: Session) -> None:
        audit.note(s, entries, NOON)

    told = []
    for url in (sqlite_url, postgres_url):
        database = Database(url)
        try:
            await database.write(job)
            told.append(await all_entries(database))
        finally:
            database.close()
    assert told[0] == told[1]
    assert verify(told[1], TENANT).broken is None


# ------------------------------------------------------------------ the story


@pytest.mark.asyncio
async def test_the_story_of_a_run(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True, Actor("U0EVE", "eve", "slack"))
        await world.decide(approval, True, BEN, reason=WORDS, digest=approval.digest[:16])
        await world.decide(approval, False, ANNA)
        await world.to_the_end(run_id)
        rows = await all_entries(world.database)
        assert [r["kind"] for r in rows] == [
            "run_opened",
            "approval_requested",
            "decision_refused",
            "decided",
            "decision_refused",
            "call_claimed",
            "call_settled",
            "run_closed",
        ]
        assert {r["run_id"] for r in rows} == {run_id}
        assert [r["approval"] for r in rows] == [None, *[approval.id] * 6, None]
        said = [json.loads(r["body"]) for r in rows]
        assert said[1]["deciders"]["stages"][0]["approvers"] == [*approval.terms.approvers]
        assert said[1]["fingerprint"] == approval.digest[:8]
        assert (said[2]["by"]["id"], said[2]["why"]) == ("U0EVE", "not_entitled")
        assert [v["by"]["id"] for v in said[3]["votes"]] == [BEN.id]
        decided = {k: said[3][k] for k in ("verdict", "as", "shown", "digest", "reason")}
        assert decided == {
            "verdict": "approve",
            "as": BEN.id,
            "shown": approval.digest[:16],
            "digest": approval.digest,
            "reason": WORDS,
        }
        assert said[3]["by"] == {"id": BEN.id, "name": BEN.name, "door": "slack"}
        assert said[4]["why"] == "already_decided"
        assert (said[5]["digest"], said[5]["gated"]) == (approval.digest, True)
        assert said[5]["arguments_sha256"] == said[1]["arguments_sha256"] == sha256_of({"card": SECRET})
        assert (said[6]["outcome"], said[7]["status"]) == ("succeeded", "completed")
        assert SECRET not in "".join(r["body"] for r in rows)
        for row in rows:
            assert row["body"] == rfc8785.dumps(json.loads(row["body"])).decode()
        assert attested(world.database) == audit_check.Attested(1, 0, ())


@pytest.mark.asyncio
async def test_two_yeses_and_an_edit_between(sqlite_url: str) -> None:
    """The question that was edited is spent, and the new one has its own story."""
    terms = replace(TERMS, quorum=2, edits=Edits.SAME)
    async with World(sqlite_url, stories=STORIES, rules={"refund": Rule(Ruling.ASK, terms=terms)}) as world:
        run_id, asked = await world.one_question()
        await world.decide(asked, True, ANNA)
        more = {"by": ANNA, "entitled_as": ANNA.id, "digest": asked.digest}
        edited = (await world.intake.edit(asked.id, {"card": "other"}, **more)).approval  # type: ignore[arg-type]
        await world.decide(edited, True, BEN)
        await world.to_the_end(run_id)
        old = [json.loads(e["body"]) for e in await world.database.read(audit.entries, approval=asked.id)]
        assert [e["kind"] for e in old] == ["approval_requested", "voted", "edited"]
        assert (old[2]["replaced_by"], old[2]["by"]["id"], old[2]["status"]) == (
            edited.id,
            ANNA.id,
            "withdrawn",
        )
        new = [json.loads(e["body"]) for e in await world.database.read(audit.entries, approval=edited.id)]
        kinds = ["approval_requested", "voted", "decided", "call_claimed", "call_settled"]
        assert [e["kind"] for e in new] == kinds
        assert new[0]["instead_of"] == asked.id
        assert new[0]["arguments_sha256"] == sha256_of({"card": "other"})
        assert [v["by"]["id"] for v in new[2]["votes"]] == [ANNA.id, BEN.id]
        assert attested(world.database) == audit_check.Attested(2, 0, ())


@pytest.mark.asyncio
async def test_the_other_endings(sqlite_url: str) -> None:
    """A question nobody answered, one that was withdrawn, one that was answered with no."""
    async with world_on(sqlite_url) as world:
        runs = [await world.start("ask") for _ in range(3)]
        await world.settle()
        (approval,) = await world.open_approvals(runs[0])
        await world.decide(approval, False, ANNA, reason="not today")
        await world.cancel(runs[1])
        await world.settle()
        world.clock.reach(approval.expires_at)
        await world.to_the_end(*runs)
        kinds = {
            r: Counter(e["kind"] for e in await world.database.read(audit.entries, run_id=r)) for r in runs
        }
        for run_id, kind in zip(runs, ("decided", "withdrawn", "expired"), strict=True):
            assert kinds[run_id][kind] == 1
            assert kinds[run_id]["run_closed"] == kinds[run_id]["call_settled"] == 1
            assert "call_claimed" not in kinds[run_id]
        closed = (await world.database.read(audit.entries, run_id=runs[1]))[-1]
        assert json.loads(closed["body"])["by"]["id"] == ANNA.id
        assert attested(world.database) == audit_check.Attested(3, 0, ())


@pytest.mark.asyncio
async def test_a_doubt_and_its_end(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        world.toolkit.rules["refund"] = replace(world.toolkit.rules["refund"], version="2")
        await world.settle()
        kinds = [r["kind"] for r in await all_entries(world.database)]
        assert kinds[2:] == ["decided", "claim_refused", "withdrawn", "attention_raised"]
        await world.cancel(run_id)
        kinds = [r["kind"] for r in await all_entries(world.database)]
        assert kinds[6:] == ["call_settled", "attention_resolved", "run_closed"]
        assert attested(world.database).faults == ()


@pytest.mark.asyncio
async def test_what_was_shown_and_a_second_start_are_as_the_tables_have_them(sqlite_url: str) -> None:
    rule = Rule(Ruling.ASK, would="gone", acts=["uncertain"])
    async with World(sqlite_url, stories=STORIES, rules={"refund": rule}) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        await world.settle()
        world.clock.advance(seconds=60)
        (call,) = (await world.run(run_id)).turn.calls
        await world.intake.resolve(run_id, Choice.RETRY, ANNA, call=call.id)
        said = [json.loads(r["body"]) for r in await all_entries(world.database)]
        (more,) = [e for e in said if e["kind"] == "start_prolonged"]
        (first,) = [e for e in said if e["kind"] == "decided"]
        assert (more["by"]["id"], more["approval"]) == (ANNA.id, approval.id)
        assert more["start_by"] > first["start_by"]
        assert first["preview_sha256"] == sha256_of("gone {'card': 'sk_live_4711'}")
        assert attested(world.database) == audit_check.Attested(1, 0, ())


@pytest.mark.asyncio
@pytest.mark.parametrize("together", [True, False])
async def test_answers_that_do_not_count_cannot_fill_it(sqlite_url: str, together: bool) -> None:
    """`REFUSED_CLICKS=10000` presses as often as anybody ever will."""
    clicks = int(os.environ.get("REFUSED_CLICKS", "240"))
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        bench = answers.DecisionContext(world.toolkit, world.policy, world.clock())

        def press(s: Session, names: Sequence[str]) -> list[answers.Decided]:
            yes = [Verdict(True, Actor(name, name, "slack"), world.clock()) for name in names]
            people = [answers.Person(v.by, v.by.id, (), approval.digest) for v in yes]
            return [answers.decide(s, approval.id, p, v, bench) for p, v in zip(people, yes, strict=True)]

        async def pressed(*names: str) -> list[answers.Decided]:
            if together:
                return await world.database.write(press, names)
            return [a for name in names for a in await world.database.write(press, [name])]

        told = await pressed(*["U0EVE"] * clicks)
        assert {a.refused for a in told} == {Refusal.NOT_ENTITLED}
        assert all("U0EVE may not decide" in a.note for a in told)
        assert [a.untold for a in told] == [False] * (SAME_REFUSALS + 1) + [True] * (clicks - 21)
        kinds = Counter(r["kind"] for r in await all_entries(world.database))
        assert (kinds["decision_refused"], kinds["refusals_counted"]) == (SAME_REFUSALS, 1)
        await pressed(*(f"U0EVE{n % 30}" for n in range(clicks)))
        assert len(await all_entries(world.database)) <= MOST_REFUSALS + 3
        assert (await world.run(run_id)).seq < MOST_REFUSALS + 20, "nor the run's own record"
        assert (await world.decide(approval, True)).refused is None
        assert attested(world.database) == audit_check.Attested(1, 0, ())


# ------------------------------------------------------------------ the head


@pytest.mark.asyncio
async def test_the_head_is_published_once_a_day(sqlite_url: str) -> None:
    posted: list[str] = []

    async def say(text: str) -> None:
        posted.append(text)

    async with world_on(sqlite_url) as world:
        day = timedelta(hours=24)
        one, other = (AuditHeads(world.database, say, every=day, clock=world.clock) for _ in range(2))
        with structlog.testing.capture_logs() as logs:
            await one.look()
            assert (logs, posted) == ([], []), "there is nothing to publish yet"
            await world.database.write(noted, "a")
            for heads in (one, other, one):
                await heads.look()
            (row,) = await all_entries(world.database)
            assert [(e["event"], e["seq"], e["hash"]) for e in logs] == [("audit_head", 1, row["hash"])]
            await one.stop()
            assert len(posted) == 1, "nothing was added since"
            world.clock.advance(timedelta(hours=25))
            await other.look()
            await world.database.write(noted, "b")
            await other.stop()
        assert [Head.read(t.split()[-1]).seq for t in posted] == [1, 1, 2]


@pytest.mark.asyncio
async def test_a_head_that_is_not_posted_is_in_the_log(sqlite_url: str) -> None:
    async def say(text: str) -> None:
        raise UnavailableError("no Slack today")

    async with world_on(sqlite_url) as world:
        await world.database.write(noted, "a")
        heads = AuditHeads(world.database, say, every=timedelta(hours=24), clock=world.clock)
        with structlog.testing.capture_logs() as logs:
            await heads.look()
        assert [e["event"] for e in logs] == ["audit_head", "audit_head_not_posted"]
