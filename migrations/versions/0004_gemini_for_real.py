"""what Gemini's real behaviour asks to be written down

Of a delivery: by which scheme it was believed, the headers that mattered, what came of it. Of a turn: what
the model said, until when Gemini keeps its interaction, in which sandbox it worked, whether it planned. Of
a run: which one it goes on from, and how many tokens people let it use beyond its limit. And one row for
each budget of requests.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


_BEFORE = ("intended", "sending", "unknown", "lost", "live", "action", "ended")
_AFTER = ("intended", "sending", "unknown", "lost", "refused", "live", "action", "ended")


def _statuses(words: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*words, name="status", native_enum=False, create_constraint=True, length=32)


def _turn_statuses(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    """Which words the column takes."""
    with op.batch_alter_table("turn") as batch:
        batch.alter_column(
            "status", existing_type=_statuses(old), type_=_statuses(new), existing_nullable=False
        )


def upgrade() -> None:
    op.add_column("delivery", sa.Column("scheme", sa.String(16), nullable=False, server_default="v1"))
    op.add_column("delivery", sa.Column("headers", _JSON, nullable=False, server_default="{}"))
    op.add_column("delivery", sa.Column("conflicts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("delivery", sa.Column("verdict", sa.String(32), nullable=False, server_default=""))
    op.add_column("delivery", sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("run", sa.Column("restart_of", sa.String(64), nullable=True))
    op.add_column("run", sa.Column("granted", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("turn", sa.Column("said", sa.Text(), nullable=False, server_default=""))
    op.add_column("turn", sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("turn", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.add_column("turn", sa.Column("planning", sa.Boolean(), nullable=True))
    op.add_column("turn", sa.Column("environment", sa.String(512), nullable=True))
    _turn_statuses(_BEFORE, _AFTER)
    op.create_index(
        "ix_turn_open",
        "turn",
        ["status"],
        sqlite_where=sa.text("status IN ('action', 'live')"),
        postgresql_where=sa.text("status IN ('action', 'live')"),
    )
    op.add_column("effect", sa.Column("urgency", sa.Integer(), nullable=False, server_default="2"))
    op.create_table(
        "budget",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("spent_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_budget"),
    )


def downgrade() -> None:
    op.drop_index("ix_turn_open", "turn")
    op.drop_column("effect", "urgency")
    _turn_statuses(_AFTER, _BEFORE)
    op.drop_table("budget")
    for table, columns in (
        ("turn", ("environment", "planning", "note", "forgotten_at", "said")),
        ("run", ("granted", "restart_of")),
        ("delivery", ("handled_at", "verdict", "conflicts", "headers", "scheme")),
    ):
        for column in columns:
            op.drop_column(table, column)
