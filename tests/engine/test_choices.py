"""People choose among finished files: once, or have them made anew; pictures are shown once, or missed."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.choosing import CHOOSE_MEDIA
from orchestrator.domain.consent import Approval
from orchestrator.domain.decision import Refusal
from orchestrator.domain.jobs import JobKind, JobWish, StoredFile
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.domain.pipeline import Step, StepKind
from orchestrator.domain.values import replace
from orchestrator.errors import InvalidError, RejectedError, UnavailableError
from orchestrator.failpoints import FailpointError
from orchestrator.store import claims, uploads

pytestmark = pytest.mark.asyncio

FILM = Step("film", StepKind.TOOL, tool="film")
PICK = Step(
    "pick",
    StepKind.TOOL,
    tool=CHOOSE_MEDIA,
    arguments={"files": {"from": "film.files"}, "question": "Which one?"},
    again="film",
)
TAKES = (JobWish(JobKind.VIDEO, {"model": "veo-3.1", "prompt": "a harbour", "parameters": {}}),) * 2


@dataclass
class Painter:
    """Implements `PicturesPort`: every file has a picture, but for what was said of it, by its place."""

    said: dict[int, str] = field(default_factory=dict)
    drawn: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def of(self, file: StoredFile) -> bytes | None:
        self.drawn[file.path] += 1
        fault = self.said.get(len(self.drawn), "")
        if fault == "broken":
            raise RejectedError("no picture of it could be drawn")
        if fault == "away":
            raise UnavailableError("the storage is away")
        return None if fault == "none" else b"\xff\xd8\xff"


def world_on(url: str, *, discreet: bool = False, **said: str) -> tuple[World, Painter]:
    asked = Rule(Ruling.ASK, terms=replace(TERMS, discreet=discreet))
    world = World(url, rules={"film": Rule(idempotent=True, waits=TAKES), CHOOSE_MEDIA: asked})
    painter = Painter({int(key[1:]): fault for key, fault in said.items()})
    world.jobs.prompt, world.pictures = True, painter
    world.boot()
    return world, painter


async def asked(world: World) -> tuple[str, Approval]:
    wanted = Recipe("content", steps=(FILM, PICK))
    run_id = (await world.intake.start(wanted, "x", ANNA)).run_id
    await world.to_the_end(run_id)
    (approval,) = await world.open_approvals(run_id)
    return run_id, approval


async def rested(world: World) -> None:
    """Whatever is tried again soon has come to something; what waits for people waits."""
    for _ in range(60):
        await world.settle()
        due = await world.database.read(claims.next_due)
        if due is None or due - world.clock() > timedelta(minutes=2):
            return
        world.clock.reach(due)
    raise AssertionError("something is tried for ever")


async def files_of(world: World, run_id: str) -> list[str]:
    return list((await world.run(run_id)).turn.calls[0].arguments["files"])


def said_on(world: World, approval: Approval) -> str:
    return world.slack.messages[str(world.slack.where(approval.id))].no_pictures


async def test_one_is_chosen_once(database_url: str) -> None:
    world, _ = world_on(database_url)
    async with world:
        run_id, approval = await asked(world)
        files = await files_of(world, run_id)
        with pytest.raises(InvalidError) as refused:
            await world.decide(approval, False, answer={"file": "run_1/other.mp4"})
        assert [path for path, _ in refused.value.fields] == ["answer.file"]
        assert (await world.decide(approval, True)).refused is Refusal.NOT_NOW
        both = [world.decide(approval, False, by, answer={"number": n}) for by, n in ((ANNA, 1), (BEN, 2))]
        answers = await asyncio.gather(*both)
        assert sorted(a.refused is None for a in answers) == [False, True]
        await world.drain()
        run = await world.run(run_id)
        chosen = run.outputs["pick"]["answer"]
        assert (run.status, chosen["file"]) == (RunStatus.COMPLETED, files[chosen["number"] - 1])
        assert world.slack.shown == [(approval.id, ("1", "2"))]
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_none_will_do_so_they_are_made_anew_and_asked_about_again(sqlite_url: str) -> None:
    world, _ = world_on(sqlite_url)
    async with world:
        run_id, approval = await asked(world)
        first = await files_of(world, run_id)
        with pytest.raises(InvalidError):
            await world.decide(approval, False, answer={"again": True, "note": ""})
        await world.decide(approval, False, answer={"again": True, "note": "darker"})
        await world.to_the_end(run_id)
        (second,) = await world.open_approvals(run_id)
        assert second.id != approval.id
        assert not set(first) & set(await files_of(world, run_id))
        assert [a for a, _ in world.slack.shown] == [approval.id, second.id]
        await world.decide(second, False, reason="never mind")
        await world.drain()
        assert (await world.run(run_id)).status is RunStatus.FAILED
        late = await world.decide(second, False, answer={"number": 1})
        assert late.refused is Refusal.RUN_ENDED
        await world.check(run_id)


async def test_nobody_chooses_in_time(sqlite_url: str) -> None:
    world, _ = world_on(sqlite_url)
    async with world:
        run_id, approval = await asked(world)
        world.clock.reach(approval.expires_at)
        late = await world.decide(approval, False, answer={"number": 1})
        assert late.refused is Refusal.EXPIRED
        await world.drain()
        await world.check(run_id)


@pytest.mark.parametrize(
    ("operation", "faults"),
    [
        ("send_picture", ("busy", "lost")),
        ("show_pictures", ("busy", "lost")),
        ("show_pictures", ("lost_after",)),
        ("show_pictures", ("forgotten",)),
    ],
)
async def test_pictures_are_shown_once_through_trouble(
    sqlite_url: str, operation: str, faults: tuple[str, ...]
) -> None:
    world, _ = world_on(sqlite_url)
    async with world:
        world.slack.faults[operation].extend(faults)
        run_id, approval = await asked(world)
        await rested(world)
        assert [a for a, _ in world.slack.shown] == [approval.id]
        assert said_on(world, approval) == ""
        await world.check(run_id)


@pytest.mark.parametrize("moment", ["sent", "written", "shown"])
async def test_a_process_that_dies_between_shows_none_twice(sqlite_url: str, moment: str) -> None:
    """After Slack has them, after their names are written down, after they are shown."""
    world, _ = world_on(sqlite_url)
    async with world:
        deaths = iter([FailpointError(moment)])
        send, show = world.slack.send_picture, world.slack.show_pictures

        def die(here: str) -> None:
            if here == moment and (death := next(deaths, None)) is not None:
                raise death

        async def sending(picture: Any) -> str:
            name = await send(picture)
            if picture.number == 2:
                die("sent")
            return name

        async def showing(card: Any, files: Any, *, seen_before: bool) -> None:
            die("written")
            await show(card, files, seen_before=seen_before)
            die("shown")

        world.slack.send_picture = sending  # type: ignore[method-assign]
        world.slack.show_pictures = showing  # type: ignore[method-assign]
        run_id, approval = await asked(world)
        await rested(world)
        assert [a for a, _ in world.slack.shown] == [approval.id]
        assert len(world.slack.sent) == (4 if moment == "sent" else 2)
        assert next(deaths, None) is None, "it died"
        await world.decide(approval, False, answer={"number": 2})
        await world.drain()
        await world.check(run_id)


@pytest.mark.parametrize(
    ("said", "fault", "shown", "words"),
    [
        ({"_1": "broken"}, "", ("2",), "No picture could be shown of 1: no picture of it could be drawn"),
        ({"_1": "broken", "_2": "broken"}, "", (), "No picture could be shown of 1: no picture"),
        ({"_1": "none", "_2": "none"}, "", (), ""),
        ({}, "refused", (), "No picture could be shown: not in that channel"),
        ({}, "busy", (), "No picture could be shown: rate limited"),
    ],
)
async def test_without_pictures_the_question_says_so_and_is_decided(
    sqlite_url: str, said: dict[str, str], fault: str, shown: tuple[str, ...], words: str
) -> None:
    world, _ = world_on(sqlite_url, **said)
    async with world:
        world.slack.faults["show_pictures"].extend([fault] * 20 if fault else [])
        run_id, approval = await asked(world)
        await rested(world)
        assert [titles for _, titles in world.slack.shown] == ([shown] if shown else [])
        assert said_on(world, approval).startswith(words)
        assert bool(said_on(world, approval)) is bool(words)
        await world.decide(approval, False, answer={"number": 2})
        await world.drain()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        await world.check(run_id)


async def test_a_storage_that_is_away_is_waited_for(sqlite_url: str) -> None:
    world, painter = world_on(sqlite_url, _2="away")
    async with world:
        run_id, approval = await asked(world)
        painter.said.clear()
        await rested(world)
        assert [a for a, _ in world.slack.shown] == [approval.id]
        await world.check(run_id)


async def test_a_channel_that_is_shown_no_arguments_is_shown_no_pictures(sqlite_url: str) -> None:
    world, painter = world_on(sqlite_url, discreet=True)
    async with world:
        await asked(world)
        await rested(world)
        assert (len(painter.drawn), world.slack.sent, world.slack.shown) == (0, [], [])


async def test_a_path_no_job_records_opens_nothing(sqlite_url: str) -> None:
    world, painter = world_on(sqlite_url)
    async with world:
        run_id, _ = await asked(world)
        files = await files_of(world, run_id)
        strange = [f"{run_id}/other.mp4", "run_0/x", "config.yaml"]
        known = await world.database.read(uploads.recorded, [*files, *strange])
        assert sorted(known) == sorted(files)
        pick = replace(PICK, arguments={"files": strange, "question": "Which?"})
        other = (await world.intake.start(Recipe("odd", steps=(pick,)), "x", ANNA)).run_id
        await world.to_the_end(other)
        (approval,) = await world.open_approvals(other)
        await rested(world)
        assert "of 1: no job of ours has made such a file" in said_on(world, approval)
        assert set(painter.drawn) == set(files)
