"""What the command line's tests share by name."""

from collections.abc import Callable

Shell = Callable[..., tuple[int, str, str]]
"""Runs a command; its exit code, output and complaints."""
TOKEN = "orc_test-0123456789abcdef"
"""The caller the services of these tests know."""
