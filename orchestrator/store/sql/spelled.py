"""A statement as it goes to one database, and how values go in and come out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.visitors import replacement_traverse
from sqlmodel.sql.sqltypes import UTCDateTime

from orchestrator.store.sql.encoding import instant, instant_text, json_text, json_value, zoned_text

Row = dict[str, Any]
Convert = Callable[[Any], Any] | None


class Spelled:
    """A statement in one dialect, and how values go in and come out."""

    def __init__(self, statement: Any, dialect: sa.Dialect, columns: Sequence[str] | None) -> None:
        statement = replacement_traverse(statement, {}, partial(_literal, dialect))
        made = statement.compile(dialect=dialect, column_keys=columns)
        binds = {name: bind for bind, name in made.bind_names.items()}
        self.sql = str(made)
        self._named = not made.positional
        self._names: Sequence[str] = list(binds) if self._named else made.positiontup
        self._constants = {name: _constant(b, dialect) for name, b in binds.items() if not b.required}
        self._read = _reader(self._names)
        given = [(place, binds[name]) for place, name in enumerate(self._names) if binds[name].required]
        self._converted = [(place, how) for place, bind in given if (how := _in(bind.type, dialect))]
        selected = getattr(statement, "exported_columns", ())
        self._out = [(c.name, _out(c.type, dialect)) for c in selected]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Those of that name, as the driver takes them."""
        given = [*self._read({**values, **self._constants} if self._constants else values)]
        for place, convert in self._converted:
            given[place] = convert(given[place])
        return dict(zip(self._names, given, strict=True)) if self._named else given

    def row(self, found: Sequence[Any]) -> Row:
        """A row that was found, by column name."""
        return {
            name: value if convert is None or value is None else convert(value)
            for (name, convert), value in zip(self._out, found, strict=True)
        }


def _literal(dialect: sa.Dialect, part: Any, **_: Any) -> Any:
    """A constant of the program as a literal.

    As a parameter it may keep a partial index from being used, or make SQLite plan the statement anew each
    time: it looks at the values bound when it compares a condition with an index's own.
    """
    if not isinstance(part, sa.BindParameter) or part.required or part.value is None:
        return None
    write: Convert = part.type.dialect_impl(dialect).literal_processor(dialect)
    return None if write is None else sa.literal_column(write(part.effective_value), part.type)


def _reader(keys: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Reads the values of those names at once."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda values: [values[key] for key in keys]  # of one name `itemgetter` makes no tuple


def _constant(bind: sa.BindParameter[Any], dialect: sa.Dialect) -> Any:
    """What a parameter that nobody gives is each time."""
    convert = _in(bind.type, dialect)
    return bind.effective_value if convert is None else convert(bind.effective_value)


def _in(kind: Any, dialect: sa.Dialect) -> Convert:
    """As SQLAlchemy would, and where it is known what that comes to, in one call."""
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return {None: None, **{member.value: member.value for member in kind.enum_class}}.__getitem__
    if isinstance(kind, UTCDateTime):
        return instant_text if dialect.name == "sqlite" else zoned_text
    if isinstance(kind, sa.JSON) and kind.none_as_null:
        return json_text
    if dialect.name == "sqlite" and isinstance(kind, sa.LargeBinary):
        return None  # bytes are what the driver takes
    convert: Convert = kind.dialect_impl(dialect).bind_processor(dialect)
    return convert


def _out(kind: Any, dialect: sa.Dialect) -> Convert:
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return {member.value: member for member in kind.enum_class}.__getitem__
    if dialect.name == "sqlite" and isinstance(kind, UTCDateTime):
        return instant
    if dialect.name == "sqlite" and isinstance(kind, sa.JSON):
        return json_value
    convert: Convert = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert
