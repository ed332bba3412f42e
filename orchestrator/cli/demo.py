"""`orchestrator demo`: the whole job, on real wire traffic, on this machine."""

import sys

import rich_click as click


@click.command()
@click.option(
    "--auto/--ask",
    default=None,
    envvar="DEMO_AUTO",
    help="Click Approve by itself, or wait for you. Without a terminal it clicks by itself.",
)
@click.option("--reject", is_flag=True, help="With --auto: click Reject instead.")
def demo(auto: bool | None, reject: bool) -> None:
    """See the whole job: a refund that a person must approve.

    Starts a stand-in Gemini, a local Slack and the service itself on free ports of 127.0.0.1, with a
    database in a temporary folder, starts a run over HTTP and tells what happens. Leaves nothing behind.
    """
    import asyncio

    from orchestrator.cli.story import tell

    by_itself = not sys.stdin.isatty() if auto is None else auto
    try:
        sys.exit(asyncio.run(tell(auto=by_itself, verdict="reject" if reject else "approve")))
    except asyncio.CancelledError:
        sys.exit(143)  # as a shell reports SIGTERM
