"""Calls to addresses that others gave us: each is looked at first, and only what was looked at is called."""

from orchestrator.outbound.address import NOT_ALLOWED, Rules, Target, is_global
from orchestrator.outbound.client import TOO_MANY_REDIRECTS, Answer, Outbound, Stream

__all__ = [
    "NOT_ALLOWED",
    "TOO_MANY_REDIRECTS",
    "Answer",
    "Outbound",
    "Rules",
    "Stream",
    "Target",
    "is_global",
]
