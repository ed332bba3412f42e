"""Batches to the last line: what failed or is missing is put into another batch, that and nothing else, once.

The tools, the policy and the storage are the real ones; Gemini is the stand-in, over HTTP. How many lines it
is about, `BATCH_LINES` says.
"""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.conversation import ANNA, TERMS
from support.deaths import arm
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.jobs import Job, JobKind, JobOrder, JobState, JobStatus
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.domain.pipeline import Step, StepKind
from orchestrator.domain.resubmission import FILMS, RESUBMIT_BATCH, RESUBMIT_VIDEO, WORKFLOW
from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.serving import running
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.gemini.jobs import GeminiJobs
from orchestrator.storage.files import opened
from orchestrator.store import jobs
from orchestrator.store.jobs import JobRow
from orchestrator.store.tables import RunRow
from orchestrator.toolkit import Toolkit, longjobs

pytestmark = pytest.mark.asyncio

LINES = int(os.environ.get("BATCH_LINES", "1000"))
MODELS = {"video_model": "veo-3.1", "batch_model": "gemini-3.8-flash"}


@dataclass
class House:
    """A world whose tools are ours and whose jobs are the stand-in's; `folder` holds what they made."""

    world: World
    folder: Path

    async def batch(self, prompts: Sequence[str]) -> str:
        """A run of one batch, asked for."""
        step = Step("ask", StepKind.TOOL, tool="run_batch", arguments={"prompts": list(prompts)})
        return (await self.world.intake.start(Recipe("nightly", steps=(step,)), "go", ANNA)).run_id

    async def ends(self, run_id: str) -> None:
        """Every question is approved; the stand-in takes its real time."""
        async with asyncio.timeout(60):
            while not (await self.world.run(run_id)).closed:
                with suppress(AssertionError):  # its patience is over before the stand-in's work
                    await self.world.to_the_end(run_id, patience=3)
                for approval in await self.world.open_approvals(run_id):
                    await self.world.decide(approval, True)
                await asyncio.sleep(0.02)

    async def job(self, run_id: str) -> Job:
        [(_, job)] = await self.world.database.read(jobs.of_run, run_id)
        return job

    def told(self, job: Job) -> dict[str, Any]:
        """The lines of a job's file, by key."""
        [file] = job.files
        lines = [json.loads(line) for line in (self.folder / file.path).read_text().splitlines()]
        return {line["key"]: line for line in lines}


@asynccontextmanager
async def house(url: str, folder: Path, *plans: dict[str, Any]) -> AsyncIterator[House]:
    settings = EmulatorSettings(batch_seconds=0.05, batch_pending_seconds=0.0, jobs=plans)
    async with running(build(settings)) as base_url:
        gateway = GeminiGateway(api_key="made-up", base_url=base_url)
        storage = opened(str(folder), max_bytes=1 << 26, min_free_bytes=0)
        async with World(url) as world:
            tools = longjobs.built_in({"run_batch", RESUBMIT_BATCH}, **MODELS)
            world.toolkit = Toolkit(tools, defaults=TERMS)  # type: ignore[assignment]
            world.jobs = GeminiJobs(gateway.connection, storage)  # type: ignore[assignment]
            world.boot()
            yield House(world, folder)
        await gateway.aclose()


async def test_every_line_is_accounted_for_and_exactly_the_others_are_asked_again(
    database_url: str, tmp_path: Path
) -> None:
    keys = [f"line-{n}" for n in range(1, LINES + 1)]
    odd = random.Random(7).sample(keys, LINES * 35 // 1000)
    failed, missing = odd[: LINES * 3 // 100], odd[LINES * 3 // 100 :]
    plan = {"match": {"kind": "batch"}, "times": 1, "fail_keys": failed, "missing_keys": missing}
    async with house(database_url, tmp_path, {**plan, "shuffle": True}) as home:
        world = home.world
        run_id = await home.batch([f"question {n}" for n in range(1, LINES + 1)])
        await home.ends(run_id)
        run, first = await world.run(run_id), await home.job(run_id)
        assert (run.status, first.status) == (RunStatus.COMPLETED, JobStatus.SUCCEEDED)
        told = home.told(first)
        assert set(told) | set(missing) == set(keys), "every line is accounted for"
        assert sum("response" in line for line in told.values()) == LINES - len(odd)
        assert (first.facts["failed"], first.facts["missing"]) == (len(failed), len(missing))
        assert set(first.facts["failed_keys"]) | set(first.facts["missing_keys"]) == set(odd)
        [result] = run.outputs["ask"]["jobs"]
        assert result["price"] == "billed at half the price"
        assert result["usage"]["totalTokenCount"] > LINES

        again = await world.intake.resubmit(first.id, ANNA)
        assert again.fresh
        await world.settle()
        asked = await world.run(again.run_id)
        assert (asked.status, asked.recipe.workflow) == (RunStatus.WAITING, WORKFLOW)
        assert asked.turn.calls[0].arguments == {"job": first.id, "keys": sorted(odd, key=keys.index)}
        await home.ends(again.run_id)
        second = await home.job(again.run_id)
        assert [line["key"] for line in second.request["lines"]] == sorted(odd, key=keys.index)
        asked_first = {line["key"]: line for line in first.request["lines"]}
        assert all(asked_first[line["key"]] == line for line in second.request["lines"])
        assert (second.facts["succeeded"], set(home.told(second))) == (len(odd), set(odd))
        assert not (await world.intake.resubmit(first.id, ANNA)).fresh
        assert len(await world.rows(JobRow)) == 2
        with pytest.raises(ConflictError, match="every line"):
            await world.intake.resubmit(second.id, ANNA)


async def test_who_is_killed_behind_the_approval_resubmits_once(sqlite_url: str, tmp_path: Path) -> None:
    plan = {"match": {"kind": "batch"}, "times": 1, "fail_keys": ["line-2"]}
    async with house(sqlite_url, tmp_path, plan) as home:
        run_id = await home.batch(["a", "b", "c"])
        await home.ends(run_id)
        first = await home.job(run_id)
        again = (await home.world.intake.resubmit(first.id, ANNA)).run_id
        for point in ("after_tool", "after_job"):
            arm(point)
        await home.ends(again)
        assert home.world.deaths == ["after_tool", "after_job"]
        assert (await home.job(again)).facts["succeeded"] == 1
        assert len(await home.world.rows(JobRow)) == 2


async def test_one_that_was_rejected_is_restarted_as_it_was(sqlite_url: str, tmp_path: Path) -> None:
    plan = {"match": {"kind": "batch"}, "times": 1, "end": "expired"}
    async with house(sqlite_url, tmp_path, plan) as home:
        world = home.world
        run_id = await home.batch(["a", "b"])
        await home.ends(run_id)
        first = await home.job(run_id)
        assert (first.status, (await world.run(run_id)).status) == (JobStatus.EXPIRED, RunStatus.FAILED)
        again = (await world.intake.resubmit(first.id, ANNA)).run_id
        await world.settle()
        [approval] = await world.open_approvals(again)
        await world.decide(approval, False)
        recipe = (await world.run(again)).recipe
        third = (await world.intake.restart(again, recipe, ANNA)).run_id
        await home.ends(third)
        assert set(home.told(await home.job(third))) == {"line-1", "line-2"}, "it had answered none of them"


async def test_a_batch_from_a_stored_file_is_resubmitted_from_it(sqlite_url: str, tmp_path: Path) -> None:
    async with house(sqlite_url, tmp_path) as home:
        ask = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        text = "".join(json.dumps({"key": f"r{n}", "request": ask}) + "\n" for n in range(5))
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "in.jsonl").write_text(text)
        request = {"model": "gemini-3.8-flash", "file": "in/in.jsonl", "keys": ["r1", "r3"]}
        port: Any = home.world.jobs
        order = JobOrder("job_" + "0" * 24, "run_1", JobKind.BATCH, 1, request)
        remote = (await port.start(order)).remote
        async with asyncio.timeout(30):
            while (await port.fetch(order.kind, remote)).state is JobState.LIVE:  # noqa: ASYNC110 - a server
                await asyncio.sleep(0.02)
        harvest = await port.harvest(order, remote)
        assert (harvest.facts["succeeded"], harvest.facts["missing"]) == (2, 0)


async def test_the_lost_films_of_a_call_are_made_anew_and_no_others(database_url: str) -> None:
    rule = Rule(idempotent=True, waits=tuple(longjobs.video(f"night {n}", model="veo-3.1") for n in range(5)))
    async with World(database_url, rules={"film": rule}) as world:
        world.jobs.searchable = False
        world.jobs.faults["start"].extend(["", "lost_after", "", "lost"])
        recipe = Recipe("nightly", steps=(Step("ask", StepKind.TOOL, tool="film"),))
        run_id = (await world.intake.start(recipe, "go", ANNA)).run_id
        await world.settle()
        world.clock.advance(world.policy.job_grace)
        await world.settle()
        first = [job for _, job in await world.database.read(jobs.of_run, run_id)]
        lost = [job for job in first if job.status is JobStatus.LOST]
        assert len(lost) == 2
        tools = Toolkit(longjobs.built_in({RESUBMIT_VIDEO}, **MODELS), defaults=TERMS)
        with pytest.raises(ConflictError, match="may be named yet"):
            await world.intake.resubmit(lost[0].id, ANNA)
        world.jobs.prompt = True
        world.jobs.end()
        await world.to_the_end(run_id)
        with pytest.raises(ConflictError, match="only those that are lost"):
            await world.intake.resubmit(next(job.id for job in first if job not in lost), ANNA)
        world.toolkit = tools  # type: ignore[assignment]
        world.boot()
        runs = {(await world.intake.resubmit(job.id, ANNA)).run_id for job in lost}
        [again] = runs
        await world.settle()
        asked = await world.run(again)
        assert (asked.recipe.workflow, asked.turn.calls[0].arguments) == (
            FILMS,
            {"jobs": [j.id for j in lost]},
        )
        [approval] = await world.open_approvals(again)
        await world.decide(approval, True)
        await world.to_the_end(again)
        second = [job for _, job in await world.database.read(jobs.of_run, again)]
        assert [job.request for job in second] == [job.request for job in lost]
        assert {job.status for job in second} == {JobStatus.SUCCEEDED}
        after = [job for _, job in await world.database.read(jobs.of_run, run_id)]
        assert sum(len(job.files) for job in (*after, *second)) == 5
        assert set(world.jobs.starts.values()) == {1}


async def test_what_cannot_be_resubmitted_says_why(sqlite_url: str, tmp_path: Path) -> None:
    async with house(sqlite_url, tmp_path) as home:
        world = home.world
        with pytest.raises(NotFoundError):
            await world.intake.resubmit("job_none", ANNA)
        run_id = await home.batch(["a"])
        await world.settle()
        [approval] = await world.open_approvals(run_id)
        await world.decide(approval, True)
        while not await world.rows(JobRow):
            await world.turn()
        job = await home.job(run_id)
        with pytest.raises(ConflictError, match="must have ended"):
            await world.intake.resubmit(job.id, ANNA)
        await world.intake.cancel(run_id, ANNA)
        world.toolkit = Toolkit((), defaults=TERMS)  # type: ignore[assignment]
        world.boot()
        with pytest.raises(ConflictError, match=r"tools\.overrides"):
            await world.intake.resubmit(job.id, ANNA)
        assert [r["id"] for r in await world.rows(RunRow)] == [run_id]
