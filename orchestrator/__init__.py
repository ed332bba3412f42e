"""Long-running Gemini agents that act with a person's consent.

A tool module needs no more than this:

    from orchestrator import ToolContext, ToolError, tool

The names are fetched on first use, so that `import orchestrator` alone costs next to nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.errors import ToolError as ToolError
    from orchestrator.toolkit.declare import ToolContext as ToolContext
    from orchestrator.toolkit.declare import tool as tool
    from orchestrator.toolkit.longjobs import Waiting as Waiting
    from orchestrator.toolkit.longjobs import batch as batch
    from orchestrator.toolkit.longjobs import video as video
    from orchestrator.toolkit.longjobs import wait_for as wait_for
    from orchestrator.toolkit.preview import PreviewContext as PreviewContext
    from orchestrator.toolkit.results import ContentBlocks as ContentBlocks
    from orchestrator.toolkit.secret import Secret as Secret

__all__ = [
    "ContentBlocks",
    "PreviewContext",
    "Secret",
    "ToolContext",
    "ToolError",
    "Waiting",
    "batch",
    "tool",
    "video",
    "wait_for",
]


def __getattr__(name: str) -> object:
    if name == "ToolError":
        from orchestrator.errors import ToolError

        return ToolError
    if name == "ContentBlocks":
        from orchestrator.toolkit.results import ContentBlocks

        return ContentBlocks
    if name == "PreviewContext":
        from orchestrator.toolkit.preview import PreviewContext

        return PreviewContext
    if name == "Secret":
        from orchestrator.toolkit.secret import Secret

        return Secret
    if name in ("Waiting", "batch", "video", "wait_for"):
        from orchestrator.toolkit import longjobs

        return getattr(longjobs, name)
    if name in ("ToolContext", "tool"):
        from orchestrator.toolkit import declare

        return getattr(declare, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
