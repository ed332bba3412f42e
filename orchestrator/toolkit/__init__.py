"""Tools: declared with `@tool`, loaded from listed modules, ruled by policy, run in one place."""

from orchestrator.toolkit.declare import Cancellation, Tool, ToolContext, tool
from orchestrator.toolkit.execute import Executor
from orchestrator.toolkit.longjobs import Waiting, batch, video, wait_for
from orchestrator.toolkit.modules import load_modules
from orchestrator.toolkit.policy import Rule
from orchestrator.toolkit.registry import Toolkit
from orchestrator.toolkit.results import ContentBlocks
from orchestrator.toolkit.secret import Secret

__all__ = [
    "Cancellation",
    "ContentBlocks",
    "Executor",
    "Rule",
    "Secret",
    "Tool",
    "ToolContext",
    "Toolkit",
    "Waiting",
    "batch",
    "load_modules",
    "tool",
    "video",
    "wait_for",
]
