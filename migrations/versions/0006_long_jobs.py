"""what long jobs, triggers, callers' webhooks and unattended workflows ask to be written down"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each story in a function of its own."""
    _add_jobs()
    _add_job_times()
    _add_steps()
    _add_questions()
    _add_sightings()
    _add_digests()
    _add_triggers()
    _add_callbacks()
    _add_uploads()
    _add_retention()
    _add_places()


def downgrade() -> None:
    """The same, backwards."""
    _drop_places()
    _drop_retention()
    _drop_uploads()
    _drop_callbacks()
    _drop_triggers()
    _drop_steps()
    _drop_job_times()
    _drop_jobs()
    _drop_questions()
    _drop_digests()
    _drop_sightings()


def _add_questions() -> None:
    """What was asked back about a request, how its digest was made, and whom each open one is put to now."""
    op.add_column("approval", sa.Column("seal", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("approval", sa.Column("questions", _JSON, nullable=False, server_default="[]"))
    asked = op.create_table(
        "asked",
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("approval", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("approver", "approval", name="pk_asked"),
        sa.ForeignKeyConstraint(
            ["approval"], ["approval.id"], name="fk_asked_approval_approval", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_asked_approval", "asked", ["approval"])
    names = [sa.column("id"), sa.column("terms", _JSON), sa.column("votes", _JSON), sa.column("status")]
    approval = sa.table("approval", *names)
    query = sa.select(*names[:3]).where(approval.c.status == "pending")
    for row in op.get_bind().execute(query).all():
        put_to = [{"approver": a, "approval": row.id} for a in _put_to(row.terms, row.votes or [])]
        if put_to:
            op.bulk_insert(asked, put_to)


def _put_to(terms: dict[str, Any], votes: list[dict[str, Any]]) -> list[str]:
    """The entries in the first stage that has not its yeses yet, of who may still give one."""
    steps = terms.get("stages") or [terms]
    for number, step in enumerate(steps):
        yeses = {v["by"]["id"] for v in votes if v.get("stage", 0) == number}
        if len(yeses) < step.get("quorum", 1):
            break
    out = {*terms.get("never", ()), *(v["by"]["id"] for v in votes)}
    return [a for a in dict.fromkeys(step.get("approvers", ())) if a not in out]


def _drop_questions() -> None:
    op.drop_table("asked")
    op.drop_column("approval", "questions")
    op.drop_column("approval", "seal")


def _add_uploads() -> None:
    """Pictures of files under a question, by Slack's names for them."""
    op.create_table(
        "upload",
        sa.Column("approval", sa.String(64), nullable=False),
        sa.Column("files", _JSON, nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("approval", name="pk_upload"),
        sa.ForeignKeyConstraint(
            ["approval"], ["approval.id"], name="fk_upload_approval_approval", ondelete="CASCADE"
        ),
    )


def _drop_uploads() -> None:
    op.drop_table("upload")


def _add_sightings() -> None:
    """What one process last saw of something outside, for the others to read."""
    op.create_table(
        "sighting",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sighting"),
    )


def _drop_sightings() -> None:
    op.drop_table("sighting")


def _add_digests() -> None:
    """Questions of unattended workflows wait for a message over all of them; each such message is a row."""
    op.add_column("approval", sa.Column("collected", sa.String(200), nullable=False, server_default=""))
    op.add_column("approval", sa.Column("since", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_approval_collected",
        "approval",
        ["collected"],
        sqlite_where=sa.text("collected <> ''"),
        postgresql_where=sa.text("collected <> ''"),
    )
    op.create_table(
        "digest",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ts", sa.String(64), nullable=False, server_default=""),
        sa.Column("trouble", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("name", name="pk_digest"),
    )


def _drop_digests() -> None:
    op.drop_table("digest")
    op.drop_index("ix_approval_collected", "approval")
    op.drop_column("approval", "since")
    op.drop_column("approval", "collected")


_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_JOB_KINDS = ("video", "video_interaction", "batch")
_JOB_STATUSES = (
    "queued",
    "intended",
    "sending",
    "unknown",
    "live",
    "storing",
    "lost",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
)


def _words(name: str, words: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*words, name=name, native_enum=False, create_constraint=True, length=32)


def _add_jobs() -> None:
    """The long jobs that calls wait for. A call that waited for one nobody wrote down is for a person."""
    op.add_column("call", sa.Column("jobs", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "job",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("call", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", _words("kind", _JOB_KINDS), nullable=False),
        sa.Column("request", _JSON, nullable=False),
        sa.Column("status", _words("status", _JOB_STATUSES), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("remote", sa.String(512), nullable=True),
        sa.Column("key", sa.String(512), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("readings", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("counts", _JSON, nullable=False),
        sa.Column("files", _JSON, nullable=False),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_job_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["call"], ["call.id"], name="fk_job_call", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
    )
    op.create_index("ix_job_run", "job", ["run_id", "number"])
    op.create_index("ix_job_call", "job", ["call"])
    op.create_index("ix_job_key", "job", ["key"])
    starting = sa.text("status IN ('sending', 'unknown')")
    op.create_index("ix_job_starting", "job", ["id"], sqlite_where=starting, postgresql_where=starting)
    waiting = "SELECT run_id FROM call WHERE status = 'awaiting_job'"
    reason = "a call waited for a job that was not written down; did it happen?"
    run = f"UPDATE run SET status = 'attention', reason = '{reason}'"  # noqa: S608  constants of this file
    op.execute(f"{run} WHERE closed_at IS NULL AND id IN ({waiting})")
    op.execute("UPDATE call SET status = 'in_doubt' WHERE status = 'awaiting_job'")


def _drop_jobs() -> None:
    op.drop_table("job")
    op.drop_column("call", "jobs")


def _add_job_times() -> None:
    """When a job was wished for, for lists of them; there are none yet."""
    with op.batch_alter_table("job") as batch:
        batch.add_column(sa.Column("created_at", sa.DateTime(timezone=True), nullable=False))
    op.create_index("ix_job_created", "job", ["created_at", "id"])
    op.create_index("ix_job_status", "job", ["status", "created_at", "id"])


def _drop_job_times() -> None:
    op.drop_index("ix_job_status", "job")
    op.drop_index("ix_job_created", "job")
    with op.batch_alter_table("job") as batch:
        batch.drop_column("created_at")


def _add_triggers() -> None:
    """What starts runs by itself: when each is due next, and what its occurrences came to."""
    op.create_table(
        "trigger",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("etag", sa.String(512), nullable=False),
        sa.Column("last_modified", sa.String(512), nullable=False),
        sa.Column("seen", _JSON, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_trigger"),
    )
    op.create_table(
        "occurrence",
        sa.Column("trigger", sa.String(200), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("again", sa.Integer(), nullable=False),
        sa.Column("conflicts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("trigger", "key", name="pk_occurrence"),
    )
    op.create_index("ix_occurrence_at", "occurrence", ["trigger", "at", "key"])


def _drop_triggers() -> None:
    op.drop_table("occurrence")
    op.drop_table("trigger")


def _add_callbacks() -> None:
    """What callers are told of their runs, and how their addresses stand."""
    op.create_table(
        "callback_address",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("state", _words("state", ("active", "disabled")), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_callback_address"),
    )
    op.create_index("ix_callback_address_state", "callback_address", ["state", "id"])
    op.create_table(
        "callback",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("event", sa.String(200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", _words("state", ("waiting", "delivered", "held", "failed")), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("log", _JSON, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_callback_run_id_run", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["address"], ["callback_address.id"], name="fk_callback_address_callback_address"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_callback"),
    )
    op.create_index("ix_callback_created", "callback", ["created_at", "id"])
    op.create_index("ix_callback_run", "callback", ["run_id", "created_at", "id"])
    op.create_index("ix_callback_state", "callback", ["state", "created_at", "id"])
    op.create_index(
        "ix_callback_held",
        "callback",
        ["address", "created_at"],
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )


def _drop_callbacks() -> None:
    op.drop_table("callback")
    op.drop_table("callback_address")


def _add_steps() -> None:
    """Which step of its workflow a run is at, and what those before came to."""
    op.add_column("run", sa.Column("step", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("outputs", _JSON, nullable=False, server_default="{}"))
    op.add_column("run", sa.Column("sources", _JSON, nullable=False, server_default="[]"))


def _drop_steps() -> None:
    op.drop_column("run", "sources")
    op.drop_column("run", "outputs")
    op.drop_column("run", "step")


def _add_retention() -> None:
    """What ended long ago is found by when that was, and what is to be deleted of it is written down."""
    closed, kept = sa.text("closed_at IS NOT NULL"), sa.text("files_gone_at IS NULL")
    op.create_index("ix_run_closed", "run", ["closed_at", "id"], sqlite_where=closed, postgresql_where=closed)
    op.add_column("job", sa.Column("files_gone_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_job_kept", "job", ["run_id"], sqlite_where=kept, postgresql_where=kept)
    op.create_table(
        "leaving",
        sa.Column("folder", sa.String(64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("folder", name="pk_leaving"),
    )


def _drop_retention() -> None:
    op.drop_table("leaving")
    op.drop_index("ix_job_kept", "job")
    op.drop_column("job", "files_gone_at")
    op.drop_index("ix_run_closed", "run")


def _add_places() -> None:
    """Messages in Slack: the question one shows is found by it, and who waits to write stands in line."""
    shown, waits = sa.text("ts <> ''"), sa.text("line <> ''")
    op.create_index("ix_approval_ts", "approval", ["ts"], sqlite_where=shown, postgresql_where=shown)
    op.add_column("effect", sa.Column("line", sa.String(64), nullable=False, server_default=""))
    op.create_index("ix_effect_line", "effect", ["line"], sqlite_where=waits, postgresql_where=waits)
    copied = op.create_table(
        "copied",
        sa.Column("ts", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(200), nullable=False),
        sa.Column("approval", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("ts", "channel", "approval", name="pk_copied"),
        sa.ForeignKeyConstraint(
            ["approval"], ["approval.id"], name="fk_copied_approval_approval", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_copied_approval", "copied", ["approval"])
    approval = sa.table("approval", sa.column("id"), sa.column("copies", _JSON))
    for row in op.get_bind().execute(sa.select(approval.c.id, approval.c.copies)).all():
        places = {(place["ts"], place["channel"]) for place in row.copies or ()}
        if places:
            rows = [{"ts": ts, "channel": channel, "approval": row.id} for ts, channel in sorted(places)]
            op.bulk_insert(copied, rows)


def _drop_places() -> None:
    op.drop_table("copied")
    op.drop_index("ix_effect_line", "effect")
    op.drop_column("effect", "line")
    op.drop_index("ix_approval_ts", "approval")
