"""questions whose cost grew with the history have an index

Before a start where a limit is set: how many calls of a tool run, when they were started, how many runs of
a workflow are open. In lists: a workflow's runs in one status. In housekeeping: which webhooks are old.
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
    op.create_index("ix_run_workflow_status", "run", ["workflow", "status", "created_at", "id"])
    op.create_index("ix_delivery_received", "delivery", ["received_at"])


def downgrade() -> None:
    op.drop_index("ix_delivery_received", "delivery")
    op.drop_index("ix_run_workflow_status", "run")
    op.drop_index("ix_run_open", "run")
    op.drop_index("ix_call_started", "call")
    op.drop_index("ix_call_executing", "call")
