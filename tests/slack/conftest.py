"""What these tests share."""

import pytest


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """How often something is tried does not depend on how busy this machine is."""
    monkeypatch.setattr("orchestrator.slack.web_api._RETRY_WITHIN_SECONDS", 600.0)
