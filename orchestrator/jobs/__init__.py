"""Hints between processes: "look at X", through PgQueuer on PostgreSQL.

A job holds no truth. What is to be done stands in rows elsewhere; a job that is lost, late or handled
twice costs a look, never a result. Jobs are put in the transaction that changes those rows.

    put(session, [Job("tools", "effect:7", b"7")])                 # committed with the rows, or not at all
    jobs = Jobs(url, lanes={"tools": 16}, handle=look_at)          # in any number of processes
    await jobs.run()

Needs the extra `gemini-orchestrator[postgres]`; importing this package does not.
"""

from orchestrator.jobs.enqueue import Job, put
from orchestrator.jobs.runner import Jobs
from orchestrator.jobs.schema import install, installed, uninstall

__all__ = ["Job", "Jobs", "install", "installed", "put", "uninstall"]
