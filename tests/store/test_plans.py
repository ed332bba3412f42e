"""How SQLite looks things up that every run asks for: by what the run has, however much else is stored."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from orchestrator.domain.effects import EffectKind
from orchestrator.store import audit_check, claims, inbox, migrate, questions
from orchestrator.store.database import Database
from orchestrator.store.sql.prepared import Prepared

ABANDONED, WAITING = claims._due(frozenset({EffectKind.EXECUTE_TOOL}))
NEXT_ABANDONED, NEXT = claims._next(frozenset({EffectKind.EXECUTE_TOOL}))
BY: dict[str, tuple[Prepared, str]] = {
    "what people said no to": (
        questions._REJECTED,
        "SEARCH call USING INDEX sqlite_autoindex_call_2 (run_id=?)",
    ),
    "entries about a question": (audit_check._OF_QUESTION, "USING INDEX ix_audit_approval (approval=?)"),
    "entries about a run": (audit_check._OF_RUN, "USING INDEX ix_audit_run (run_id=?)"),
    "abandoned effects": (ABANDONED, "USING INDEX ix_effect_lease (lease_until<?)"),
    "due effects": (WAITING, "USING INDEX ix_effect_due (due_at<?)"),
    "the next one due": (NEXT, "ix_effect_due"),
    "the next one abandoned": (NEXT_ABANDONED, "ix_effect_lease"),
    "webhooks to work on": (inbox._NEW, "USING INDEX ix_delivery_new"),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('plans') / 'empty.db'}")
    migrate.upgrade(database.engine)
    yield database.engine
    database.close()


@pytest.mark.parametrize("what", BY)
def test_it_is_found_by_its_own(engine: sa.Engine, what: str) -> None:
    statement, by = BY[what]
    with engine.connect() as conn:
        text = statement.sql(conn.dialect)
        nothing = tuple([None] * text.count("?"))
        plan = [row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", nothing)]
    assert by in plan[0], plan
