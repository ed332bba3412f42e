"""PostgreSQL spoken to in few words: statements whose answer nobody waits for travel with the next that is.

A transaction costs what its round trips cost, and in this process what the driver does for each of its
statements. Here BEGIN travels with the first statement, writes that only need to have changed a row gather
until something is read, and the COMMIT follows the last of them. The order stays; so does what is checked:
a statement that must change one row and does not is an error to the server, so the COMMIT may go with it.

Under it is libpq's pipeline mode (postgresql.org/docs/current/libpq-pipeline-mode.html): after an error the
server skips what was sent with it, so nothing of that is done.
"""

import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, NoReturn

import psycopg
import sqlalchemy as sa
from psycopg import errors, pq
from psycopg.adapt import PyFormat, Transformer
from sqlalchemy.dialects.postgresql import psycopg as dialects

from orchestrator.domain.values import Value
from orchestrator.silence import TICK_SECONDS, Listening, Silence
from orchestrator.store.sql.wire import Check, ForgottenError, Hear

DIALECT: Final[sa.Dialect] = dialects.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
"""Parameters are numbered, as the server wants them."""
_WIRE: Final = "wire"
_OK: Final = (int(pq.ExecStatus.COMMAND_OK), int(pq.ExecStatus.TUPLES_OK))
_UNKNOWN_NAME: Final = "26000"  # PostgreSQL: invalid SQL statement name
_OTHER_COLUMNS: Final = "0A000"  # the same: feature not supported; of what ran before, a table was altered
_NO_ROW: Final = "22012"  # PostgreSQL: division by zero
_ONLY_READS: Final = "25006"  # PostgreSQL: read only SQL transaction
_LOCKS: Final = ("FOR UPDATE", "FOR SHARE", "FOR NO KEY", "FOR KEY", "pg_advisory_xact_lock")
_IDLE: Final = pq.TransactionStatus.IDLE


class Found(Value):
    """Implements `Answer`."""

    rowcount: int
    rows: Sequence[Any] = ()

    def fetchall(self) -> Sequence[Any]:
        """See `Answer`."""
        return self.rows

    def fetchone(self) -> Any:
        """See `Answer`."""
        return self.rows[0] if self.rows else None


class _Word(Value):
    """A statement that is to be sent. Of one that is checked the server makes sure (`_one_row`)."""

    sql: str
    values: Sequence[Any]
    check: Check | None
    read: bool
    hear: Hear | None = None


class Pipeline:
    """Implements `Conversation`. A lone one is asked like any other."""

    dialect = DIALECT
    gathers = True

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._pg = driver.pgconn
        self._values = Transformer(driver)
        self._prepares = driver.prepare_threshold is not None
        self._names: dict[str, bytes] = {}
        self._made: dict[str, bytes] = {}
        """By the last exchange."""
        self._named = 0
        self._waiting: list[_Word] = []
        self._begun = False
        """Whether a BEGIN was sent, by which what is said belongs together."""
        self._heard = False
        """Whether somebody must hear of what waits before the COMMIT."""
        self._spoilt = False
        """Something was not as it must be: whoever caught that, nothing of this transaction may stay."""
        self.foreign = self.loose = self.committing = False
        self._silence: Silence = driver.silence
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)

    def reset(self) -> None:
        """Nothing waits of a transaction that is over."""
        self._waiting.clear()
        self.foreign = self.loose = self.committing = False
        self._begun = self._heard = self._spoilt = False

    @property
    def lost(self) -> bool:
        """See `Wire`."""
        return bool(self._pg.status != pq.ConnStatus.OK)

    def distrust(self) -> None:
        """See `Conversation`."""
        self._silence.distrust()

    def later(self, sql: str, values: Sequence[Any], check: Check | None = None) -> None:
        """Send it with what follows, the COMMIT even."""
        self._add(sql, values, check, read=False)

    def later_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """See `Wire`."""
        for values in rows:
            self._add(sql, values, None, read=False)

    def learn(self, sql: str, values: Sequence[Any], hear: Hear, *, last: bool = False) -> None:
        """See `Wire`."""
        self._add(sql, values, None, read=True, hear=hear)
        self._heard = self._heard or not last

    def ask(self, sql: str, values: Sequence[Any]) -> Found:
        """Send it, and all before it; returns what it came to."""
        self._add(sql, values, None, read=True)
        return self.flush()[-1]

    def change_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """See `Wire`."""
        self.later_each(sql, rows)
        return sum(found.rowcount for found in self.flush()[-len(rows) :]) if rows else 0

    def flush(self) -> list[Found]:
        """Send what waits. Raises what the first that failed came to, as SQLAlchemy does, or its check."""
        words, self._waiting = self._waiting, []
        self._heard = False
        if not words:
            return []
        return self._exchange(words, ())

    def commit(self) -> None:
        """Send what waits, and end the transaction: at once, unless somebody must hear of it before."""
        if self.loose or self._heard:
            self.flush()
        if self._spoilt:
            raise sa.exc.InvalidRequestError("what failed in this transaction was caught, and cannot be kept")
        self._still_begun()
        words, self._waiting = self._waiting, []
        if words or self._pg.transaction_status != _IDLE:
            self.committing = not self.loose
            self._exchange(words, (b"COMMIT",))

    def rollback(self) -> None:
        """Take the transaction back; of a connection that is gone the server does it."""
        self._waiting.clear()
        if self._pg.status == pq.ConnStatus.OK and self._pg.transaction_status != _IDLE:
            with suppress(sa.exc.DBAPIError):  # what went wrong before is what is told
                self._exchange((), (b"ROLLBACK",))

    def _still_begun(self) -> None:
        """Or what was said before is gone, and who said it would be told of a COMMIT."""
        if self._begun and self._pg.status == pq.ConnStatus.OK and self._pg.transaction_status == _IDLE:
            raise sa.exc.InvalidRequestError("the transaction was ended within it")

    def _add(
        self, sql: str, values: Sequence[Any], check: Check | None, *, read: bool, hear: Hear | None = None
    ) -> None:
        try:
            dumped = self._values.dump_sequence(values, [PyFormat.TEXT] * len(values)) if values else ()
        except psycopg.Error as e:
            raise wrapped(sql, e) from e
        self._waiting.append(_Word(_one_row(sql) if check else sql, dumped, check, read, hear))

    def _exchange(self, words: Sequence[_Word], last: Sequence[bytes]) -> list[Found]:
        self._still_begun()
        sql = words[0].sql if words else last[0].decode()
        try:
            results = self._talk(words, last)
        except psycopg.Error as e:
            self._hang_up()
            raise wrapped(sql, e) from e
        except BaseException:
            self._hang_up()  # half a conversation: nobody may go on with it
            raise
        answers = []
        for word, result in zip(words, results[: len(words)], strict=True):
            answers.append(self._understood(word, result))
        for command, result in zip(last, results[len(words) :], strict=True):
            self._ended(command, result)
        return answers

    def _understood(self, word: _Word, result: Any) -> Found:
        if result.status not in _OK:
            self._refuse(word, result)
        count = result.command_tuples or 0
        if not word.read:
            return Found(count)
        self._values.set_pgresult(result)
        found = Found(count, self._values.load_rows(0, result.ntuples, tuple))
        if word.hear is not None:
            self._tell(word.hear, found.rows)
        return found

    def _tell(self, heard: Callable[[Any], object], what: Any) -> None:
        try:
            heard(what)
        except BaseException:
            self._spoilt = True
            raise

    def _ended(self, word: bytes, result: Any) -> None:
        if result.status not in _OK:
            self._refuse(_Word(word.decode(), (), None, read=False), result)
        if result.command_status != word:  # a COMMIT of what had failed before rolls it back
            raise sa.exc.InvalidRequestError("the database rolled the transaction back")

    def _refuse(self, word: _Word, result: Any) -> NoReturn:
        error = errors.error_from_result(result, self._encoding)
        before = word.sql in self._names and word.sql not in self._made
        outdated = before and error.sqlstate == _OTHER_COLUMNS
        if outdated or error.sqlstate == _UNKNOWN_NAME:
            self._names.clear()
            raise ForgottenError from error
        if error.sqlstate == _NO_ROW and word.check is not None:
            word.check(0)
        if only_reads(error):
            # A standby, where another took over: this session is of no use to anybody, and a new one may be.
            self._hang_up()
            raise sa.exc.OperationalError(word.sql, {}, error, hide_parameters=True) from error
        raise wrapped(word.sql, error) from error

    @property
    def _encoding(self) -> str:
        return str(self._driver.info.encoding)

    def _talk(self, words: Sequence[_Word], last: Sequence[bytes]) -> list[Any]:
        """Send it all and read the answer to each, in their order; what was skipped has none of its own."""
        pg = self._pg
        made = self._made = {}
        asked: list[str | None] = []
        pg.enter_pipeline_mode()
        if pg.transaction_status == _IDLE and not (self.loose and not _locks(words)):
            pg.send_query_params(b"BEGIN", None)
            asked.append("")
            self._begun = True
        for word in words:
            name = self._names.get(word.sql) or made.get(word.sql)
            if name is None and self._prepares:
                self._named += 1
                name = made[word.sql] = f"o_{self._named}".encode()
                pg.send_prepare(name, word.sql.encode())
                asked.append(word.sql)
            if name is None:
                pg.send_query_params(word.sql.encode(), word.values)
            else:
                pg.send_query_prepared(name, word.values)
            asked.append(None)
        for command in last:
            pg.send_query_params(command, None)
            asked.append(None)
        pg.pipeline_sync()
        results = self._results(asked, made)
        pg.exit_pipeline_mode()
        return results

    def _results(self, asked: Sequence[str | None], made: dict[str, bytes]) -> list[Any]:
        self._send()
        results, failed = [], None
        for of in asked:
            result = self._next()
            self._next()  # nothing: the end of its answer
            if result.status in _OK and of:
                self._names[of] = made[of]
            elif result.status not in _OK and failed is None:
                failed = result
            if of is None:
                results.append(failed or result)
        self._next()  # the server has come to the end too
        return results

    def _send(self) -> None:
        """All of it, reading meanwhile: who does not listen is not listened to."""
        while self._pg.flush():
            self._poll.modify(self._pg.socket, select.POLLIN | select.POLLOUT)
            try:
                ready = self._listen()
            finally:
                self._poll.modify(self._pg.socket, select.POLLIN)
            if any(event & ~select.POLLOUT for _, event in ready):
                self._pg.consume_input()

    def _next(self) -> Any:
        pg = self._pg
        while pg.is_busy():
            self._listen()
            pg.consume_input()
        return pg.get_result()

    def _listen(self) -> list[tuple[int, int]]:
        """What the socket is ready for; the other threads go on meanwhile."""
        since, why, patience = time.monotonic(), "", self._silence.doubt_seconds
        while not (ready := self._poll.poll(patience * 1000)):
            if why:
                raise self._silence.met(why, since)
            why, patience = self._silence.given_up(self._driver.session, since), TICK_SECONDS
        return ready

    def _hang_up(self) -> None:
        with suppress(psycopg.Error):
            self._driver.close()


@lru_cache
def _one_row(sql: str) -> str:
    """An error to the server, `_NO_ROW`, unless the statement changes a row. One more is no concern here:
    what is checked is found by its key.
    """
    return f"WITH done AS ({sql} RETURNING 1) SELECT 1 / count(*) FROM done"  # noqa: S608  our own statement


def _locks(words: Sequence[_Word]) -> bool:
    return any(_locking(w.sql) for w in words)


@lru_cache
def _locking(sql: str) -> bool:
    return any(sign in sql for sign in _LOCKS)


def begin(connection: sa.Connection) -> Pipeline:
    """That of a connection whose transaction has not begun; made once for as long as the driver's lives."""
    known: Pipeline | None = connection.info.get(_WIRE)
    if known is None:
        known = connection.info[_WIRE] = Pipeline(connection.connection.driver_connection)
    known.reset()
    return known


def only_reads(error: BaseException) -> bool:
    """Whether the server refuses to write, as a standby does."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) == _ONLY_READS


def wrapped(sql: str, error: Exception) -> Exception:
    """As SQLAlchemy raises what the driver does, without the values."""
    return sa.exc.DBAPIError.instance(sql, {}, error, psycopg.Error, hide_parameters=True, dialect=DIALECT)


def listen(engine: sa.Engine, silence: Silence) -> None:
    """Keep the order where SQLAlchemy sends a statement of its own; give out no connection that is gone."""
    engine.dialect.connect = silence.connect  # type: ignore[assignment]  # behind whoever listens for it

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _before(conn: sa.Connection, _cursor: Any, sql: str, *_: Any) -> None:
        known: Pipeline | None = conn.info.get(_WIRE)
        if known is not None:
            known.foreign = known.foreign or not sql.startswith("SELECT")
            known.flush()

    @sa.event.listens_for(engine, "checkout")
    def _checkout(dbapi: Listening, _record: Any, _proxy: Any) -> None:
        dbapi.hurried, fresh, dbapi.fresh = True, dbapi.fresh, False
        if fresh:
            return
        if silence.distrusted(dbapi) or _hung_up(dbapi):
            raise sa.exc.InvalidatePoolError("the server ended this session")


def _hung_up(driver: Any) -> bool:
    """Whether the server has spoken unasked, as it does when it ends a session. Costs no round trip."""
    if driver.closed:
        return True
    waiting = select.poll()
    waiting.register(driver.pgconn.socket, select.POLLIN)
    if not waiting.poll(0):
        return False
    try:
        driver.execute(";")
        driver.rollback()
    except psycopg.Error:
        return True
    return False
