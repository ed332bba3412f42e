"""What these tests share is in tests/support."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """How often something is tried does not depend on how busy this machine is."""
    monkeypatch.setattr("orchestrator.slack.web_api._RETRY_WITHIN_SECONDS", 600.0)
