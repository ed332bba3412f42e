"""what long jobs, triggers, callers' webhooks and unattended workflows ask to be written down"""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each story in a function of its own."""


def downgrade() -> None:
    """The same, backwards."""
