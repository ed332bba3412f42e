"""Lists of long jobs, on both databases: newest first, page by page, nothing twice and nothing left out."""

from datetime import timedelta

from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import ANNA
from support.films import FILM, film, filming

from orchestrator.domain.events import JobClaimed
from orchestrator.domain.jobs import JobKind, JobStatus
from orchestrator.domain.lifecycle import decide, open_run
from orchestrator.domain.model import Policy, Recipe
from orchestrator.domain.pipeline import Step, StepKind
from orchestrator.store import job_views, runs, views
from orchestrator.store.database import Database


def test_jobs_page_by_page_and_by_what_they_are(database: Database) -> None:
    talk = filming(5)
    with Session(database.engine, expire_on_commit=False) as s:
        opened = open_run(talk.run.id, talk.run.recipe, "x", ANNA, now=NOON)
        runs.insert(s, opened, now=NOON, owner="ci", idempotency_key="k", body_hash="h")
        decision = decide(talk.run, JobClaimed(film(1), 1), policy=Policy(), now=NOON)
        made = runs.save(s, runs.load(s, talk.run.id), decision, now=NOON)
        assert [j.id for j in made.turn.calls[0].jobs] == [film(n) for n in range(1, 6)]
        found, after = [], None
        while True:
            page = job_views.jobs(s, limit=2, after=after)
            found += [r["id"] for r in page.rows]
            if (after := page.next) is None:
                break
        assert found == sorted((film(n) for n in range(1, 6)), reverse=True)
        assert [r["id"] for r in job_views.jobs(s, limit=9, status=JobStatus.SENDING).rows] == [film(1)]
        assert job_views.jobs(s, limit=9, kind=JobKind.BATCH).rows == []
        assert len(job_views.jobs(s, limit=9, workflow=talk.run.recipe.workflow).rows) == 5
        assert [r["id"] for r in job_views.of_run(s, talk.run.id)] == [film(n) for n in range(1, 6)]
        one = job_views.job(s, film(1))
        assert (one["model"], one["created_at"], "request" in one) == (FILM.request["model"], NOON, False)
        [told] = job_views.by_call(s, talk.run.id).values()
        assert [(j.number, j.status) for j in told][:2] == [(1, JobStatus.SENDING), (2, JobStatus.INTENDED)]
        s.rollback()


def test_a_run_is_read_with_the_steps_of_its_recipe(database: Database) -> None:
    recipe = Recipe("content", steps=(Step("tell", StepKind.TOOL, tool="tell"),))
    with Session(database.engine, expire_on_commit=False) as s:
        for n, one in enumerate((recipe, Recipe("plain", model="m"))):
            decision = open_run(f"run_{n}", one, "x", ANNA, now=NOON + timedelta(seconds=n))
            runs.insert(s, decision, now=NOON, owner="ci", idempotency_key=f"k{n}", body_hash="h")
        [told] = views.run(s, "run_0")["steps"]
        assert (told["name"], told["kind"], told["tool"]) == ("tell", "tool", "tell")
        assert not views.run(s, "run_1")["steps"]
        s.rollback()
