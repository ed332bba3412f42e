"""what limits count is indexed

How many calls of a tool run, when they were started, how many runs of a workflow are open: asked before
each start where a limit is set, so the answer must not grow with the history.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_EXECUTING = sa.text("status = 'executing'")
_OPEN = sa.text("closed_at IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_call_executing", "call", ["tool"], postgresql_where=_EXECUTING, sqlite_where=_EXECUTING
    )
    op.create_index("ix_call_started", "call", ["tool", "started_at"])
    op.create_index("ix_run_open", "run", ["workflow"], postgresql_where=_OPEN, sqlite_where=_OPEN)


def downgrade() -> None:
    op.drop_index("ix_run_open", "run")
    op.drop_index("ix_call_started", "call")
    op.drop_index("ix_call_executing", "call")
