"""What the store's tests share."""

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session

from orchestrator.store.database import Database


@pytest.fixture
def s(database: Database) -> Iterator[Session]:
    with Session(database.engine, expire_on_commit=False) as session:
        yield session
        session.rollback()
