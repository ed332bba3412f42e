"""The tables. SQLModel rows validate nothing by themselves: constraints live in the schema.

No `from __future__ import annotations` here: SQLModel reads the annotations.
"""

import enum
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlmodel import Field, SQLModel

from orchestrator.domain.consent import ApprovalStatus
from orchestrator.domain.model import CallStatus, OutcomeKind, RunStatus, TurnStatus

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # there only INTEGER counts up by itself

ID = 64
NAME = 200


def enum_column(kind: type[enum.StrEnum], name: str) -> sa.Enum:
    """A column of that enumeration's words, checked by the database."""
    return sa.Enum(
        kind,
        native_enum=False,
        length=32,
        create_constraint=True,
        name=name,
        values_callable=lambda members: [m.value for m in members],
    )


class EffectState(enum.StrEnum):
    """Where an effect of the outbox stands."""

    PENDING = "pending"
    CLAIMED = "claimed"
    DONE = "done"
    DROPPED = "dropped"  # nobody wants it any more
    DEAD = "dead"  # refused for good; a person may look


class DeliveryState(enum.StrEnum):
    """Where a webhook of the inbox stands."""

    NEW = "new"
    DONE = "done"
    PARKED = "parked"  # names an interaction we do not know (yet)


class RunRow(SQLModel, table=True):
    """One run; `version` is what a conditional save compares."""

    __tablename__ = "run"
    __table_args__: ClassVar[Any] = (
        sa.UniqueConstraint("owner", "idempotency_key"),
        sa.Index("ix_run_created", "created_at", "id"),
        sa.Index("ix_run_status", "status", "created_at", "id"),
        sa.Index("ix_run_workflow", "workflow", "created_at", "id"),
        sa.Index("ix_run_workflow_status", "workflow", "status", "created_at", "id"),
        sa.Index(
            "ix_run_open",
            "workflow",
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        ),
        sa.Index(
            "ix_run_live",
            "id",
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        ),
        sa.Index(
            "ix_run_closed",
            "closed_at",
            "id",
            sqlite_where=sa.text("closed_at IS NOT NULL"),
            postgresql_where=sa.text("closed_at IS NOT NULL"),
        ),
    )
    id: str = Field(primary_key=True, max_length=ID)
    workflow: str = Field(max_length=NAME)
    status: RunStatus = Field(sa_type=enum_column(RunStatus, "status"))
    recipe: dict[str, Any] = Field(sa_type=JSON)
    turn: int
    input: str = Field(sa_type=sa.Text)
    requester: dict[str, Any] = Field(sa_type=JSON)
    output: str = Field(sa_type=sa.Text)
    reason: str = Field(sa_type=sa.Text)
    usage: dict[str, Any] = Field(sa_type=JSON)
    bad_calls: int
    created_at: datetime
    updated_at: datetime
    deadline: datetime
    closed_at: datetime | None = None
    version: int
    seq: int
    owner: str | None = Field(default=None, max_length=NAME)
    idempotency_key: str | None = Field(default=None, max_length=NAME)
    body_hash: str | None = Field(default=None, max_length=ID)
    restart_of: str | None = Field(default=None, max_length=ID)
    granted: int = Field(sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    step: int = Field(sa_column_kwargs={"server_default": "0"})
    outputs: dict[str, Any] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "{}"})
    sources: list[Any] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "[]"})


class TurnRow(SQLModel, table=True):
    """One interaction of a run: the intent to create it, and what became of it."""

    __tablename__ = "turn"
    __table_args__: ClassVar[Any] = (
        sa.Index(
            "ix_turn_open",
            "status",
            sqlite_where=sa.text("status IN ('action', 'live')"),
            postgresql_where=sa.text("status IN ('action', 'live')"),
        ),
    )
    run_id: str = Field(primary_key=True, max_length=ID, foreign_key="run.id", ondelete="CASCADE")
    number: int = Field(primary_key=True)
    attempt: int
    status: TurnStatus = Field(sa_type=enum_column(TurnStatus, "status"))
    interaction_id: str | None = Field(default=None, max_length=512)
    previous_id: str | None = Field(default=None, max_length=512)
    gemini_status: str = Field(max_length=64)
    readings: int
    sent_at: datetime | None = None
    continuation: str | None = Field(default=None, sa_type=sa.Text)
    said: str = Field(sa_type=sa.Text, sa_column_kwargs={"server_default": ""})
    forgotten_at: datetime | None = None
    note: str = Field(sa_type=sa.Text, sa_column_kwargs={"server_default": ""})
    planning: bool | None = None
    environment: str | None = Field(default=None, max_length=512)
    batch_channel: str = Field(max_length=NAME, sa_column_kwargs={"server_default": ""})
    batch_ts: str = Field(max_length=ID, sa_column_kwargs={"server_default": ""})


class InteractionRow(SQLModel, table=True):
    """Every interaction id known to be ours, orphans included."""

    __tablename__ = "interaction"
    id: str = Field(primary_key=True, max_length=512)
    run_id: str = Field(max_length=ID, foreign_key="run.id", ondelete="CASCADE", index=True)
    turn: int
    attempt: int


class CallRow(SQLModel, table=True):
    """One function call."""

    __tablename__ = "call"
    __table_args__: ClassVar[Any] = (
        sa.UniqueConstraint("run_id", "turn", "call_id"),
        sa.Index(
            "ix_call_executing",
            "tool",
            sqlite_where=sa.text("status = 'executing'"),
            postgresql_where=sa.text("status = 'executing'"),
        ),
        sa.Index("ix_call_started", "tool", "started_at"),
    )
    id: str = Field(primary_key=True, max_length=ID)
    run_id: str = Field(max_length=ID, foreign_key="run.id", ondelete="CASCADE")
    turn: int
    position: int
    call_id: str = Field(sa_type=sa.Text)
    tool: str = Field(sa_type=sa.Text)
    arguments: dict[str, Any] = Field(sa_type=JSON)
    status: CallStatus = Field(sa_type=enum_column(CallStatus, "status"))
    idempotent: bool
    approval: str | None = Field(default=None, max_length=ID)
    outcome: OutcomeKind | None = Field(default=None, sa_type=enum_column(OutcomeKind, "outcome"))
    result: Any = Field(default=None, sa_type=JSON, nullable=True)
    claim: str | None = Field(default=None, max_length=ID)
    started_at: datetime | None = None
    settled_at: datetime | None = None
    jobs: int = Field(sa_column_kwargs={"server_default": "0"})


class ApprovalRow(SQLModel, table=True):
    """One question to people, and its answer."""

    __tablename__ = "approval"
    __table_args__: ClassVar[Any] = (
        sa.Index("ix_approval_status", "status", "requested_at", "id"),
        sa.Index("ix_approval_run", "run_id", "requested_at", "id"),
        sa.Index(
            "ix_approval_collected",
            "collected",
            sqlite_where=sa.text("collected <> ''"),
            postgresql_where=sa.text("collected <> ''"),
        ),
        sa.Index(
            "ix_approval_ts",
            "ts",
            sqlite_where=sa.text("ts <> ''"),
            postgresql_where=sa.text("ts <> ''"),
        ),
    )
    id: str = Field(primary_key=True, max_length=ID)
    call: str = Field(max_length=ID, foreign_key="call.id", ondelete="CASCADE", index=True)
    run_id: str = Field(max_length=ID, foreign_key="run.id", ondelete="CASCADE")
    revision: int
    status: ApprovalStatus = Field(sa_type=enum_column(ApprovalStatus, "status"))
    digest: str = Field(max_length=ID)
    terms: dict[str, Any] = Field(sa_type=JSON)
    requested_at: datetime
    expires_at: datetime
    start_by: datetime | None = None
    verdict: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    channel: str = Field(max_length=NAME)
    ts: str = Field(max_length=ID)
    trouble: str = Field(sa_type=sa.Text)
    votes: list[Any] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "[]"})
    reminded: int = Field(sa_column_kwargs={"server_default": "0"})
    escalated: bool = Field(sa_column_kwargs={"server_default": sa.false()})
    copies: list[Any] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "[]"})
    preview: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    collected: str = Field(max_length=NAME, sa_column_kwargs={"server_default": ""})
    since: datetime | None = None
    questions: list[Any] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "[]"})
    seal: int = Field(sa_column_kwargs={"server_default": "1"})


class AuditRow(SQLModel, table=True):
    """One entry of a tenant's audit: never changed, and bound to the one before by its hash.

    `body` is the entry itself as RFC 8785 JSON; the other columns only find it.
    """

    __tablename__ = "audit"
    __table_args__: ClassVar[Any] = (
        sa.Index("ix_audit_run", "run_id", "seq"),
        sa.Index("ix_audit_approval", "approval", "seq"),
    )
    tenant: str = Field(primary_key=True, max_length=ID)
    seq: int = Field(primary_key=True, sa_type=sa.BigInteger)
    at: datetime
    kind: str = Field(max_length=64)
    run_id: str | None = Field(default=None, max_length=ID)
    approval: str | None = Field(default=None, max_length=ID)
    body: str = Field(sa_type=sa.Text)
    previous: str = Field(max_length=64)
    hash: str = Field(max_length=64)


class EventRow(SQLModel, table=True):
    """The record: what happened to a run, in order."""

    __tablename__ = "event"
    run_id: str = Field(primary_key=True, max_length=ID, foreign_key="run.id", ondelete="CASCADE")
    seq: int = Field(primary_key=True)
    kind: str = Field(max_length=64)
    at: datetime
    status: str = Field(max_length=32)
    data: dict[str, Any] = Field(sa_type=JSON)
    note: str = Field(sa_type=sa.Text)
    refused: str | None = Field(default=None, max_length=32)


class EffectRow(SQLModel, table=True):
    """The outbox. The row is the truth; whoever wakes a worker only hints at it.

    `run_id` is empty for a look at an interaction nobody knows. `wanted` counts requests, so
    that one that comes while the effect is being performed is not lost. `line` is the place it waits
    for, or has now: one in Slack to write to, or one of a tool or a workflow.
    """

    __tablename__ = "effect"
    __table_args__: ClassVar[Any] = (
        sa.UniqueConstraint("run_id", "key"),
        sa.Index(
            "ix_effect_due",
            "due_at",
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        ),
        sa.Index(
            "ix_effect_lease",
            "lease_until",
            sqlite_where=sa.text("state = 'claimed'"),
            postgresql_where=sa.text("state = 'claimed'"),
        ),
        sa.Index(
            "ix_effect_dead",
            "id",
            sqlite_where=sa.text("state = 'dead'"),
            postgresql_where=sa.text("state = 'dead'"),
        ),
        sa.Index(
            "ix_effect_line",
            "line",
            sqlite_where=sa.text("line <> ''"),
            postgresql_where=sa.text("line <> ''"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=NUMBER)
    run_id: str = Field(max_length=ID)
    key: str = Field(max_length=600)
    kind: str = Field(max_length=32)
    subject: str = Field(max_length=512)
    due_at: datetime
    state: EffectState = Field(sa_type=enum_column(EffectState, "state"))
    urgency: int = Field(sa_column_kwargs={"server_default": "2"})
    wanted: int
    attempts: int
    claim: str | None = Field(default=None, max_length=ID)
    lease_until: datetime | None = None
    error: str = Field(sa_type=sa.Text)
    line: str = Field(max_length=ID, sa_column_kwargs={"server_default": ""})


class DeliveryRow(SQLModel, table=True):
    """The inbox: each webhook once, as it came."""

    __tablename__ = "delivery"
    __table_args__: ClassVar[Any] = (
        sa.Index(
            "ix_delivery_new",
            "received_at",
            sqlite_where=sa.text("state = 'new'"),
            postgresql_where=sa.text("state = 'new'"),
        ),
        sa.Index(
            "ix_delivery_parked",
            "subject",
            sqlite_where=sa.text("state = 'parked'"),
            postgresql_where=sa.text("state = 'parked'"),
        ),
        sa.Index("ix_delivery_subject", "subject"),
        sa.Index("ix_delivery_received", "received_at"),
        sa.Index(
            "ix_delivery_refused",
            "received_at",
            sqlite_where=sa.text("verdict = 'refused'"),
            postgresql_where=sa.text("verdict = 'refused'"),
        ),
    )
    id: str = Field(primary_key=True, max_length=256)
    kind: str = Field(max_length=NAME)
    subject: str = Field(max_length=512)
    received_at: datetime
    timestamp: int = Field(sa_type=sa.BigInteger)
    body: bytes = Field(sa_type=sa.LargeBinary)
    body_hash: str = Field(max_length=ID)
    duplicates: int
    state: DeliveryState = Field(sa_type=enum_column(DeliveryState, "state"))
    run_id: str | None = Field(default=None, max_length=ID)
    note: str = Field(sa_type=sa.Text)
    scheme: str = Field(max_length=16, sa_column_kwargs={"server_default": "v1"})
    headers: dict[str, Any] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "{}"})
    conflicts: int = Field(sa_column_kwargs={"server_default": "0"})
    verdict: str = Field(max_length=32, sa_column_kwargs={"server_default": ""})
    handled_at: datetime | None = None


class BudgetRow(SQLModel, table=True):
    """What may be done so often over all processes: the next one not before `spent_until`."""

    __tablename__ = "budget"
    name: str = Field(primary_key=True, max_length=ID)
    spent_until: datetime


def table(row: type[SQLModel]) -> sa.Table:
    """The Core table of a row class, for statements that skip the ORM."""
    return row.__table__  # type: ignore[attr-defined,no-any-return]  # SQLModel sets it, its types do not say so
