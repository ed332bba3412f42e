"""A house of doors per test, and a client at its front."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient
from web_kit import House, build

from orchestrator.storage.files import Storage, opened


@pytest.fixture
def house(scratch: Path) -> Iterator[House]:
    built = build(scratch)
    yield built
    built.database.close()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return opened(str(tmp_path / "files"), max_bytes=1 << 24, min_free_bytes=0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One client for the tests of a module that change nothing."""
    built = build(tmp_path_factory.mktemp("shared"))
    with TestClient(built.app(), raise_server_exceptions=False) as client:
        yield client
    built.database.close()


@pytest.fixture
def client(house: House) -> Iterator[TestClient]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client
