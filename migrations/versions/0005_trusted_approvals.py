"""what an approval people can trust asks to be written down

Of a question: who has answered so far, how often people were reminded, whether others were asked too,
where else it is shown, and what the call would do. Of a call: that this is being worked out. Of a turn:
where the message over its questions is. Of deliveries: those refused, found soon. And the audit: entries
nobody rewrites, each holding the hash of the one before.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_NEW = ("copies", "escalated", "preview", "reminded", "votes")
_BATCH = {"batch_channel": 200, "batch_ts": 64}
_BEFORE = ("awaiting_approval", "ready", "executing", "awaiting_job", "in_doubt", "settled")
_AFTER = ("previewing", *_BEFORE)


def _statuses(words: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*words, name="status", native_enum=False, create_constraint=True, length=32)


def _call_statuses(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    """Which words the column takes."""
    with op.batch_alter_table("call") as batch:
        batch.alter_column(
            "status", existing_type=_statuses(old), type_=_statuses(new), existing_nullable=False
        )


def upgrade() -> None:
    _call_statuses(_BEFORE, _AFTER)
    op.add_column("approval", sa.Column("preview", _JSON, nullable=True))
    op.add_column("approval", sa.Column("votes", _JSON, nullable=False, server_default="[]"))
    op.add_column("approval", sa.Column("reminded", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("approval", sa.Column("escalated", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("approval", sa.Column("copies", _JSON, nullable=False, server_default="[]"))
    for column, length in _BATCH.items():
        op.add_column("turn", sa.Column(column, sa.String(length), nullable=False, server_default=""))
    op.create_table(
        "audit",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=True),
        sa.Column("approval", sa.String(64), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq", name="pk_audit"),
    )
    op.create_index(
        "ix_delivery_refused",
        "delivery",
        ["received_at"],
        sqlite_where=sa.text("verdict = 'refused'"),
        postgresql_where=sa.text("verdict = 'refused'"),
    )
    op.create_index("ix_audit_run", "audit", ["run_id", "seq"])
    op.create_index("ix_audit_approval", "audit", ["approval", "seq"])


def downgrade() -> None:
    _call_statuses(_AFTER, _BEFORE)
    op.drop_table("audit")
    op.drop_index("ix_delivery_refused", "delivery")
    for column in _BATCH:
        op.drop_column("turn", column)
    for column in _NEW:
        op.drop_column("approval", column)
