"""effects are numbered in 64 bits

Asking for an effect that is there already takes a number too (PostgreSQL draws it before it sees the
conflict), so that 32 bits are used up in months on a busy service. SQLite's row ids have 64 bits anyway.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _number_with(sa.BigInteger(), "BIGINT", before=sa.Integer())


def downgrade() -> None:
    _number_with(sa.Integer(), "INTEGER", before=sa.BigInteger())


def _number_with(kind: sa.types.TypeEngine[int], name: str, *, before: sa.types.TypeEngine[int]) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("effect", "id", existing_type=before, type_=kind, existing_nullable=False)
        op.execute(f"ALTER SEQUENCE effect_id_seq AS {name}")
