"""Long jobs on real rows: started once, heard of by webhook or reading, stored once; lost, killed, late."""

import json
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from support.deaths import arm
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.jobs import MAX_REMOTE, Job, JobKind, JobState, JobStatus, JobWish, signal_key
from orchestrator.domain.model import CallStatus, Policy, RunStatus
from orchestrator.engine import step
from orchestrator.engine.job_webhooks import claimed_by
from orchestrator.engine.longjobs import ASKED_FOR, LOOKS_FOR_FILES, SLOWEST
from orchestrator.store import sightings
from orchestrator.store.jobs import JobRow
from orchestrator.store.tables import DeliveryRow, RunRow, table

pytestmark = pytest.mark.asyncio

STORIES = {"film": (Plan((("film", {"n": 1}),)), Plan(output="shown"))}
FILM = JobWish(JobKind.VIDEO, {"model": "veo-3.1", "prompt": "a harbour", "parameters": {}})
NIGHTLY = JobWish(JobKind.BATCH, {"model": "gemini-3.8-flash", "lines": []})


def world_on(url: str, *wishes: JobWish, **policy: object) -> World:
    rule = Rule(idempotent=True, waits=wishes or (FILM,) * 3)
    return World(url, stories=STORIES, rules={"film": rule}, policy=Policy(**policy))  # type: ignore[arg-type]


async def filming(world: World) -> str:
    run_id = await world.start("film")
    await world.settle()
    return run_id


async def filming_unanswered(world: World, lost: int = 1) -> str:
    """The same, with the answers to so many starts lost, and nothing to be looked for."""
    world.jobs.searchable = False
    world.jobs.faults["start"].extend(["lost_after"] * lost)
    return await filming(world)


async def jobs_of(world: World, run_id: str) -> tuple[Job, ...]:
    return (await world.chain(run_id))[0].calls[0].jobs


async def told(
    world: World, remote: str, job: str = "", kind: str = "video.generated", **sent_along: object
) -> None:
    """Gemini's webhook about a job, as it calls it; with our metadata where a job is given."""
    world.hooks += 1
    data = {"id": signal_key(remote), **({"user_metadata": {"job": job, **sent_along}} if job else {})}
    await world.intake.deliver(
        webhook_id=f"job_{world.hooks}",
        kind=kind,
        subject=signal_key(remote),
        timestamp=int(world.clock().timestamp()),
        body=json.dumps({"type": kind, "data": data}).encode(),
    )


async def test_films_are_started_once_told_of_and_stored_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await filming(world)
        assert [j.status for j in await jobs_of(world, run_id)] == [JobStatus.LIVE] * 3
        assert (await world.run(run_id)).status is RunStatus.RUNNING
        for remote in world.jobs.end():
            await told(world, remote)
            await told(world, remote)  # doubled, under another id
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert set(world.jobs.starts.values()) == {1}
        assert set(world.jobs.harvests.values()) == {1}
        assert [len(j.files) for j in await jobs_of(world, run_id)] == [1, 1, 1]
        assert world.jobs.requests["fetch"] == 3  # nobody polled
        await world.check(run_id)


async def test_lost_webhooks_are_made_up_for_by_readings(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await filming(world)
        world.jobs.end()
        before = world.clock()
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert world.clock() - before <= Policy().watch_every + timedelta(seconds=10)


async def test_a_batch_whose_answer_got_lost_is_found_and_not_sent_again(database_url: str) -> None:
    async with world_on(database_url, NIGHTLY) as world:
        world.jobs.faults["start"].append("lost_after")
        run_id = await filming(world)
        (job,) = await jobs_of(world, run_id)
        assert job.status is JobStatus.UNKNOWN
        world.clock.advance(timedelta(seconds=6))
        await world.settle()
        assert (await jobs_of(world, run_id))[0].remote == "batches/b1"
        world.jobs.end()
        await told(world, "batches/b1", kind="batch.succeeded")
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert set(world.jobs.starts.values()) == {1}


async def test_a_film_whose_answer_got_lost_is_found_by_its_webhook(database_url: str) -> None:
    async with world_on(database_url, FILM) as world:
        run_id = await filming_unanswered(world)
        (job,) = await jobs_of(world, run_id)
        (remote,) = world.jobs.end()
        await told(world, "models/veo-3.1/operations/op99", job.id)  # a stranger's claim comes first
        await world.settle()
        assert (await jobs_of(world, run_id))[0].status is JobStatus.UNKNOWN
        await told(world, remote, job.id)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert set(world.jobs.starts.values()) == {1}


@pytest.mark.parametrize("late", [False, True], ids=["in its grace", "given up for lost"])
async def test_a_film_that_is_an_interaction_is_found_by_what_it_echoes(
    late: bool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing says that an event carries our metadata; the interaction does, read with our own key."""
    other = JobWish(JobKind.VIDEO_INTERACTION, {"model": "omni", "prompt": "a quay", "parameters": {}})
    async with world_on(database_url, other, other) as world:
        run_id = await filming_unanswered(world)
        if late:
            world.clock.advance(Policy().job_grace)
            await world.settle()
        lost, second = sorted(await jobs_of(world, run_id), key=lambda job: job.remote is not None)
        remote = next(r for r, order in world.jobs.made.items() if order.id == lost.id)
        echoes = {remote: lost.id, "v1_theirs": "job_nobody", "v1_taken": second.id}

        read = world.gemini.fetch

        async def fetch(interaction_id: str) -> Snapshot:
            if interaction_id not in echoes:
                return await read(interaction_id)
            return Snapshot(interaction_id, "completed", job=echoes[interaction_id])

        monkeypatch.setattr(world.gemini, "fetch", fetch)
        world.jobs.end()
        for named in ("v1_theirs", "v1_taken", remote, second.remote or ""):
            await told(world, named, kind="interaction.completed")
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert {j.remote for j in await jobs_of(world, run_id)} == set(world.jobs.made)
        assert set(world.jobs.starts.values()) == {1}
        await world.check(run_id)


@pytest.mark.parametrize("answer", ["lost_after", ""])
async def test_a_webhook_that_comes_while_the_answer_is_still_out_is_heard(
    answer: str, database_url: str
) -> None:
    """The connection may break long after the film is done; nothing else would ever name that film."""
    async with world_on(database_url, FILM) as world:
        world.jobs.searchable = False

        async def overtaken(remote: str) -> None:
            world.jobs.end()
            await told(world, remote, world.jobs.made[remote].id)
            assert await world.second_worker().run_once()

        world.jobs.meanwhile = overtaken
        if answer:
            world.jobs.faults["start"].append(answer)
        run_id = await filming(world)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED  # no second of any grace has passed
        assert set(world.jobs.starts.values()) == {1}
        await world.check(run_id)


@pytest.mark.parametrize(("wish", "policy"), [(NIGHTLY, {}), (FILM, {"retry_lost_film": True})])
async def test_one_that_never_was_taken_is_sent_again_after_its_time(
    wish: JobWish, policy: dict[str, bool], database_url: str
) -> None:
    async with world_on(database_url, wish, **policy) as world:
        world.jobs.faults["start"].append("lost")
        run_id = await filming(world)
        world.clock.advance(Policy().job_grace)
        await world.settle()
        (job,) = await jobs_of(world, run_id)
        assert (job.attempt, job.status) == (2, JobStatus.LIVE)
        world.jobs.end()
        await world.to_the_end(run_id)
        assert set(world.jobs.starts.values()) == {1}


async def twice_lost(world: World, *, listed: str = "") -> str:
    """Both starts of a batch lost their answers; Gemini's list was behind until the second, and is still."""
    world.jobs.faults["start"].extend(["lost_after", "lost_after"])
    world.jobs.unlisted = {"batches/b1", "batches/b2"}
    run_id = await filming(world)
    world.clock.advance(Policy().job_grace)
    await world.settle()
    (job,) = await jobs_of(world, run_id)
    assert (job.attempt, job.status, len(world.jobs.made)) == (2, JobStatus.UNKNOWN, 2)
    world.jobs.unlisted.discard(listed)
    world.clock.advance(timedelta(minutes=1))
    await world.settle()
    return run_id


async def test_the_batch_of_an_attempt_that_was_replaced_is_stopped_and_not_taken_for_the_later_one(
    database_url: str,
) -> None:
    async with world_on(database_url, NIGHTLY) as world:
        run_id = await twice_lost(world, listed="batches/b1")
        (job,) = await jobs_of(world, run_id)
        assert (job.status, job.remote, world.jobs.cancelled) == (JobStatus.UNKNOWN, None, ["batches/b1"])
        notes = [e["note"] or "" for e in await world.events(run_id) if e["kind"] == "JobObserved"]
        assert any("batches/b1" in note and "attempt 1" in note for note in notes)
        world.jobs.unlisted.clear()
        world.clock.advance(timedelta(minutes=1))
        await world.settle()
        assert (await jobs_of(world, run_id))[0].remote == "batches/b2"
        world.jobs.end()
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert world.jobs.cancelled == ["batches/b1"]
        await world.check(run_id)


async def test_of_two_batches_whose_names_tell_no_attempt_one_is_taken_and_the_other_stopped(
    database_url: str,
) -> None:
    """A release before named them; they ask for the same."""
    async with world_on(database_url, NIGHTLY) as world:
        world.jobs.attempts_told = False
        run_id = await twice_lost(world)
        world.jobs.unlisted.clear()
        world.clock.advance(timedelta(minutes=1))
        await world.settle()
        (job,) = await jobs_of(world, run_id)
        assert (job.status, {job.remote, *world.jobs.cancelled}) == (JobStatus.LIVE, set(world.jobs.made))


async def test_a_cancel_stops_every_start_that_shows_itself(database_url: str) -> None:
    async with world_on(database_url, NIGHTLY) as world:
        run_id = await twice_lost(world)
        await world.cancel(run_id)
        world.jobs.unlisted.clear()
        world.clock.advance(timedelta(minutes=1))
        await world.settle()
        assert sorted(world.jobs.cancelled) == ["batches/b1", "batches/b2"]
        await world.check(run_id)


@pytest.mark.parametrize("ended", [False, True])
async def test_a_replaced_start_that_shows_itself_late_is_stopped_although_the_next_one_was_answered(
    ended: bool, database_url: str
) -> None:
    async with world_on(database_url, NIGHTLY) as world:
        world.jobs.faults["start"].append("lost_after")
        world.jobs.unlisted = {"batches/b1"}
        run_id = await filming(world)
        world.clock.advance(Policy().job_grace)
        await world.settle()
        (job,) = await jobs_of(world, run_id)
        assert (job.attempt, job.remote) == (2, "batches/b2")
        world.jobs.unlisted.clear()
        if ended:
            world.jobs.states["batches/b2"] = JobState.DONE
            await told(world, "batches/b2", kind="batch.succeeded")
            await world.settle()
            assert (await world.run(run_id)).status is RunStatus.COMPLETED
        world.clock.advance(Policy().job_grace)
        await world.settle()
        assert world.jobs.cancelled == ["batches/b1"]
        assert any("batches/b1" in (e["note"] or "") for e in await world.events(run_id))
        if not ended:
            world.jobs.end()
            await world.to_the_end(run_id)
            assert (await world.run(run_id)).status is RunStatus.COMPLETED


@pytest.mark.parametrize("made", [True, False])
async def test_one_that_could_be_looked_for_is_not_sent_again_before_that_was_done(
    made: bool, database_url: str
) -> None:
    """The neighbour is left alone beyond the grace, or asked for a long wait."""
    async with world_on(database_url, NIGHTLY) as world:
        world.jobs.faults["start"].append("lost_after" if made else "lost")
        world.jobs.weather = lambda operation: "busy" if operation == "find" else "fine"
        run_id = await filming(world)
        for _ in range(4):
            world.clock.advance(Policy().job_grace)
            await world.settle()
        (job,) = await jobs_of(world, run_id)
        assert (job.attempt, job.status) == (1, JobStatus.UNKNOWN)
        world.jobs.weather = None
        world.clock.advance(timedelta(minutes=2))
        await world.settle()
        (job,) = await jobs_of(world, run_id)
        assert (job.attempt, job.status) == (1 if made else 2, JobStatus.LIVE)
        world.jobs.end()
        await world.to_the_end(run_id)
        assert set(world.jobs.starts.values()) == {1}, "one batch, paid once"
        await world.check(run_id)


@pytest.mark.parametrize("late", ["while its call waits", "after its call was settled"])
async def test_a_film_of_which_nothing_is_heard_is_never_begun_twice(late: str, database_url: str) -> None:
    async with world_on(database_url, FILM, FILM) as world:
        run_id = await filming_unanswered(world)
        world.clock.advance(Policy().job_grace)
        await world.settle()
        lost, other = sorted(await jobs_of(world, run_id), key=lambda job: job.status is JobStatus.LIVE)
        assert (lost.status, lost.attempt, other.status) == (JobStatus.LOST, 1, JobStatus.LIVE)
        remote = next(r for r, order in world.jobs.made.items() if order.id == lost.id)
        world.jobs.end()
        told_of = [(remote, lost.id), (remote, lost.id), (other.remote or "", "")]
        for named, job in told_of if late == "while its call waits" else reversed(told_of):
            await told(world, named, job)
            await world.settle()
        await world.drain()
        run, jobs = await world.run(run_id), {job.id: job for job in await jobs_of(world, run_id)}
        assert run.status is RunStatus.COMPLETED
        assert set(world.jobs.starts.values()) == {1}
        stored = late == "while its call waits"
        assert jobs[lost.id].status is (JobStatus.SUCCEEDED if stored else JobStatus.LOST)
        assert set(world.jobs.harvests.values()) == {1}
        assert (lost.id in world.jobs.harvests) is stored
        notes = [e["note"] or "" for e in await world.events(run_id) if e["kind"] == "JobSignalled"]
        assert any(remote in note for note in notes) is not stored, "what came too late is written down"
        await world.check(run_id)


@pytest.mark.parametrize("first", ["1", 1, 1.0])
async def test_the_film_of_an_attempt_that_was_replaced_is_not_taken_for_the_later_one(
    first: object, database_url: str
) -> None:
    """Its own answer got lost as well, so that only events tell which film is which attempt's."""
    async with world_on(database_url, FILM, retry_lost_film=True) as world:
        run_id = await filming_unanswered(world, 2)
        world.clock.advance(Policy().job_grace)
        await world.settle()
        replaced, current = world.jobs.made
        (job,) = await jobs_of(world, run_id)
        assert (job.attempt, job.status) == (2, JobStatus.UNKNOWN)
        world.jobs.end()
        await told(world, replaced, job.id, attempt=first)
        await world.settle()
        (job,) = await jobs_of(world, run_id)
        assert (job.status, job.remote) == (JobStatus.UNKNOWN, None)
        notes = [e["note"] or "" for e in await world.events(run_id) if e["kind"] == "JobSignalled"]
        assert any(replaced in note and "attempt 1" in note for note in notes)
        await told(world, current, job.id, attempt="2")
        await world.to_the_end(run_id)
        (job,) = await jobs_of(world, run_id)
        assert (job.status, job.remote) == (JobStatus.SUCCEEDED, current)
        await world.check(run_id)


async def test_a_webhook_that_overtook_the_answer_is_heard(database_url: str) -> None:
    async with world_on(database_url, FILM) as world:

        async def done_already(remote: str) -> None:
            world.jobs.states[remote] = JobState.DONE
            await told(world, remote)
            assert await world.second_worker().run_once()  # it is sorted before the answer is there

        world.jobs.meanwhile = done_already
        run_id = await filming(world)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert world.jobs.requests["fetch"] == 1


async def test_a_job_nobody_here_began_is_not_kept(database_url: str) -> None:
    async with world_on(database_url, FILM) as world:
        await filming(world)
        await told(world, "batches/somebody_elses", kind="batch.succeeded")
        await world.settle()
        (row,) = [r for r in await world.rows(DeliveryRow) if r["kind"] == "batch.succeeded"]
        assert (row["verdict"], row["note"]) == ("ignored", "not about a job of ours")


async def test_a_busy_gemini_and_a_storage_that_is_away_only_delay(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.jobs.faults["start"].extend(["busy"] * 4)
        world.jobs.faults["harvest"].extend(["busy"] * 4)
        run_id = await filming(world)
        for _ in range(60):
            world.jobs.end()
            if (await world.run(run_id)).status is RunStatus.COMPLETED:
                break
            world.clock.advance(timedelta(minutes=2))
            await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert set(world.jobs.starts.values()) == {1}


@pytest.mark.parametrize("fault", ["busy", "full"])
async def test_a_storage_that_is_away_is_told_once_and_a_gemini_that_is_not_taken_for_it(
    database_url: str, fault: str
) -> None:
    async with world_on(database_url, FILM) as world:
        world.jobs.faults["harvest"].extend([fault] * 4)
        run_id = await filming(world)
        world.jobs.end()
        seen: list[str] = []
        with capture_logs() as logs:
            while (await world.run(run_id)).status is not RunStatus.COMPLETED:
                world.clock.advance(timedelta(minutes=1))
                await world.settle()
                sighting = await world.database.read(sightings.last, sightings.FILES)
                seen.append("" if sighting is None else f"{world.clock() - sighting.at} {sighting.text}")
        told = [line["event"] for line in logs if line["event"].startswith("files_storing")]
        if fault == "busy":
            assert (told, set(seen)) == ([], {""})
        else:
            assert told == ["files_storing_failed", "files_storing_recovered"]
            assert "0:00:00 the disk is full" in seen


@pytest.mark.parametrize("times", [3, 1000])
async def test_a_file_that_is_slow_to_appear_is_waited_for_but_not_for_ever(
    database_url: str, times: int
) -> None:
    async with world_on(database_url, FILM) as world:
        world.jobs.faults["harvest"].extend(["absent"] * times)
        run_id = await filming(world)
        world.jobs.end()
        for _ in range(20):
            world.clock.advance(timedelta(minutes=1))
            await world.settle()
        (job,) = (await world.chain(run_id))[0].calls[0].jobs
        if times == 3:
            assert (job.status, world.jobs.requests["harvest"]) == (JobStatus.SUCCEEDED, 4)
        else:
            assert (job.status, job.said) == (JobStatus.FAILED, "HTTP 404")
            assert world.jobs.requests["harvest"] == LOOKS_FOR_FILES


@pytest.mark.parametrize("kind", [JobKind.VIDEO, JobKind.BATCH])
async def test_files_that_never_come_are_given_up_before_gemini_forgets_them(
    database_url: str, kind: JobKind
) -> None:
    wish = FILM if kind is JobKind.VIDEO else NIGHTLY
    span = ASKED_FOR + SLOWEST.get(kind, timedelta(0))
    async with world_on(database_url, wish) as world:
        world.jobs.faults["harvest"].extend(["busy"] * 1000)
        run_id = await filming(world)
        world.jobs.end()
        for _ in range(LOOKS_FOR_FILES):
            world.clock.advance(timedelta(minutes=1))
            await world.settle()
        world.clock.advance(span - timedelta(minutes=30))
        await world.settle()
        assert (await jobs_of(world, run_id))[0].status is JobStatus.STORING
        world.clock.advance(timedelta(minutes=40))
        await world.settle()
        (job,) = (await world.chain(run_id))[0].calls[0].jobs
        assert job.status is JobStatus.FAILED
        assert "before Gemini forgets it" in job.said


async def test_a_cancel_stops_the_begun_and_nothing_is_stored_after_it(database_url: str) -> None:
    async with world_on(database_url, *(FILM,) * 12) as world:
        run_id = await filming(world)
        assert sum(world.jobs.starts.values()) == Policy().jobs_at_once
        await world.cancel(run_id)
        world.jobs.end()
        for remote in list(world.jobs.made):
            await told(world, remote)
        await world.drain()
        assert len(world.jobs.cancelled) == Policy().jobs_at_once
        assert not world.jobs.harvests
        assert sum(world.jobs.starts.values()) == Policy().jobs_at_once
        assert (await world.chain(run_id))[0].calls[0].status is CallStatus.SETTLED
        await world.check(run_id)


@pytest.mark.parametrize("point", ["before_job", "after_job", "before_harvest", "after_harvest"])
async def test_a_process_that_dies_there_doubles_nothing(point: str, database_url: str) -> None:
    async with world_on(database_url, NIGHTLY, NIGHTLY) as world:
        arm(point)
        run_id = await world.start("film")
        for _ in range(40):
            await world.settle()
            world.jobs.end()
            if (await world.run(run_id)).status is RunStatus.COMPLETED:
                break
            world.clock.advance(timedelta(minutes=1))
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.deaths) == 1
        assert set(world.jobs.starts.values()) == {1}
        await world.check(run_id)


async def test_jobs_of_a_run_that_is_deleted_go_with_it(database_url: str) -> None:
    async with world_on(database_url) as world:
        await filming(world)
        run_t = table(RunRow)
        await world.database.write(lambda s: s.connection().execute(run_t.delete()).rowcount)
        assert await world.rows(JobRow) == []


async def test_a_claim_no_database_takes_is_nothing_and_others_are_heard(database_url: str) -> None:
    async with world_on(database_url, FILM) as world:
        run_id = await filming_unanswered(world)
        (job,) = await jobs_of(world, run_id)
        (remote,) = world.jobs.end()
        await told(world, "models/veo-3.1/operations/op98", "job_\x00")
        await told(world, remote, job.id)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED


async def test_a_claimed_name_is_heard_where_it_can_be_kept(database_url: str) -> None:
    models = ("m" * (MAX_REMOTE - len("models//operations/") - 256), "m" * 256)
    films = [JobWish(JobKind.VIDEO, {**FILM.request, "model": model}) for model in models]
    async with world_on(database_url, *films) as world:
        run_id = await filming_unanswered(world, 2)
        fits, does_not = await jobs_of(world, run_id)
        for job, length in ((fits, MAX_REMOTE), (does_not, 0)):
            body = json.dumps({"data": {"id": "o" * 256, "user_metadata": {"job": job.id}}}).encode()
            about = await world.database.read(claimed_by, body)
            assert len(about[1].remote if about else "") == length
            if about is not None:
                await world.database.write(step.apply, *about, policy=world.policy, now=world.clock())
        assert [len(j.remote or "") for j in await jobs_of(world, run_id)] == [MAX_REMOTE, 0]


@pytest.mark.parametrize("named", ["v1_Chd==", "v1_a.b-c", "v1_" + "x" * (MAX_REMOTE - 3)])
async def test_a_claimed_interaction_is_heard_however_its_id_is_padded(sqlite_url: str, named: str) -> None:
    """Gemini need not echo to a reading whose film it is: then its event alone tells."""
    async with world_on(sqlite_url, JobWish(JobKind.VIDEO_INTERACTION, FILM.request)) as world:
        run_id = await filming_unanswered(world)
        (job,) = await jobs_of(world, run_id)
        for told_of, heard in ((named, named), (named + "/", None), (named + "\u00e9", None)):
            body = json.dumps({"data": {"id": told_of, "user_metadata": {"job": job.id}}}).encode()
            about = await world.database.read(claimed_by, body)
            assert (about and about[1].remote) == heard


async def test_what_jobs_ask_for_is_not_in_the_record(sqlite_url: str) -> None:
    """It may have been made of arguments that nobody is shown."""
    async with world_on(sqlite_url) as world:
        run_id = await filming(world)
        [waits] = [e["data"] for e in await world.events(run_id) if e["kind"] == "CallWaits"]
        assert waits["wishes"] == ["video"] * 3
        assert "harbour" not in json.dumps(waits)
