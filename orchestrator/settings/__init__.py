"""`config.yaml` and the environment: read once, checked once, then plain frozen values."""

from orchestrator.settings.approvals import Approvals, ApprovalStage, ForbiddenCalls, PolicyOverride
from orchestrator.settings.inputs import InputForm
from orchestrator.settings.loader import load, log_format
from orchestrator.settings.model import Settings
from orchestrator.settings.secrets import Secret
from orchestrator.settings.sections import (
    Api,
    ApiToken,
    Audit,
    Database,
    Gemini,
    Log,
    Server,
    Slack,
    ToolOverride,
    Tools,
    Webhooks,
)
from orchestrator.settings.table import markdown_table
from orchestrator.settings.workflows import RunLimits, Workflow

__all__ = [
    "Api",
    "ApiToken",
    "ApprovalStage",
    "Approvals",
    "Audit",
    "Database",
    "ForbiddenCalls",
    "Gemini",
    "InputForm",
    "Log",
    "PolicyOverride",
    "RunLimits",
    "Secret",
    "Server",
    "Settings",
    "Slack",
    "ToolOverride",
    "Tools",
    "Webhooks",
    "Workflow",
    "load",
    "log_format",
    "markdown_table",
]
