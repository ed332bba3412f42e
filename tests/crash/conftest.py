"""The laboratory's databases lie on a real file system, as they do in service."""

from pathlib import Path

import pytest


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Instead of the memory where other tests keep theirs."""
    return tmp_path
