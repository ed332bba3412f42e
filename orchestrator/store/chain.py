"""How entries of the audit are bound to each other, and how a broken bond is found. No database here.

An entry's body is the RFC 8785 JSON of all it says. Its hash is SHA-256 over the hash of the entry before it,
in hexadecimal, followed by the body; the first one follows 64 zeros. So whoever knows one hash can tell
whether anything up to that entry was changed, and nobody can tell it of a chain that was cut after its end:
for that the head is published elsewhere.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import rfc8785

from orchestrator.domain.evidence import Sealed, text_of
from orchestrator.domain.plain import canonical
from orchestrator.domain.values import Value
from orchestrator.errors import InvalidError

GENESIS: Final = "0" * 64
"""What the first entry follows."""
FORM: Final = 1
"""How bodies are made; grows when that changes."""
_NUMBER: Final = "seq"
_HEAD: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})", re.ASCII)

Row = Mapping[str, Any]


class Head(Value):
    """The last entry of a chain: `seq` counts from 1, 0 is a chain without entries."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def read(cls, text: str) -> "Head":
        """A head as it was published, `SEQ:HASH`. Raises `InvalidError`."""
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise InvalidError("must be SEQ:HASH, a number and 64 hex digits")
        return cls(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Broken:
    """The first entry where the chain does not hold, and how that shows."""

    seq: int
    why: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a walk along a chain found: `head` is the last entry that holds."""

    head: Head
    broken: Broken | None = None


def hash_of(previous: str, body: str) -> str:
    """Binds an entry to the one before: SHA-256 in hex over that one's hash and this one's text."""
    return hashlib.sha256(f"{previous}{body}".encode()).hexdigest()


def sha256_of(value: Any) -> str:
    """SHA-256 over a value's RFC 8785 JSON; of one that has none, over sorted JSON, and said to be so."""
    plain = msgspec.to_builtins(value, enc_hook=dict)
    try:
        form = known if (known := canonical(plain)) is not None else rfc8785.dumps(plain)
    except (UnicodeEncodeError, rfc8785.CanonicalizationError):  # half a character; a number beyond a double
        form = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
        return f"sorted:{hashlib.sha256(form).hexdigest()}"
    return hashlib.sha256(form).hexdigest()


def body_of(entry: Mapping[str, Any]) -> str:
    """An entry's one spelling. `Sealed` values become hashes; half characters are written as escapes.

    Its names are ASCII and its numbers whole and small. Of such a value sorted JSON is RFC 8785 JSON, and is
    made in a fraction of the time.
    """
    try:
        return _spelled(entry).decode()
    except UnicodeEncodeError:  # half a character somewhere
        return _spelled(_plain(entry)).decode()


def halves_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    """What stands in the body before and after its number, of an entry that has none yet.

    The names are sorted, and there are always some before `seq` and some after it.
    """
    before = body_of({k: v for k, v in entry.items() if k < _NUMBER})
    after = body_of({k: v for k, v in entry.items() if k > _NUMBER})
    return f'{before[:-1]},"{_NUMBER}":', f",{after[1:]}"


def _unsealed(value: Any) -> Any:
    if isinstance(value, Sealed):
        return sha256_of(value.value)
    return dict(value)  # or it has no place in an entry


_spelled: Final = msgspec.json.Encoder(order="sorted", enc_hook=_unsealed).encode


def _plain(value: Any) -> Any:
    """The same with half characters written as escapes."""
    match value:
        case Sealed(inner):
            return sha256_of(inner)
        case str():
            return str(value).encode(errors="backslashreplace").decode()
        case Mapping():
            return {_plain(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case _:
            return value


class Chain:
    """Follows a chain entry by entry.

    Args:
        published: A head that was seen earlier, and kept where who may write to the database may not.
    """

    def __init__(self, tenant: str, published: Head | None = None) -> None:
        self._tenant, self._published = tenant, published
        self.head = Head()
        self.broken: Broken | None = None

    def take(self, row: Row) -> bool:
        """The next row; False from the first one on that does not follow."""
        if self.broken is None:
            why = self._fault(row)
            if why:
                self.broken = Broken(self.head.seq + 1, why)
            else:
                self.head = Head(row["seq"], row["hash"])
        return self.broken is None

    def end(self) -> Verified:
        """There are no more rows."""
        last = self._published
        if self.broken is None and last is not None and last.seq > self.head.seq:
            why = f"is not there: the chain ends at {self.head.seq}, and {last.seq} was published"
            self.broken = Broken(self.head.seq + 1, why)
        return Verified(self.head, self.broken)

    def _fault(self, row: Row) -> str:
        seq, last = self.head.seq + 1, self._published
        if row["seq"] != seq:
            return f"is not there: after {seq - 1} comes {row['seq']}"
        if row["previous"] != self.head.hash:
            return "does not follow the entry before it"
        if why := flaw(row, self._tenant):
            return why
        if last is not None and last.seq == seq and last.hash != row["hash"]:
            return "is not the one that was published"
        return ""


def verify(rows: Iterable[Row], tenant: str, published: Head | None = None) -> Verified:
    """Walk along a chain, its rows in the order of their numbers."""
    chain = Chain(tenant, published)
    for row in rows:
        if not chain.take(row):
            break
    return chain.end()


def flaw(row: Row, tenant: str) -> str:
    """What is wrong with an entry by itself, wherever it stands; empty for nothing."""
    if row["hash"] != hash_of(row["previous"], row["body"]):
        return "is not what its hash was made of"
    differs = _differs(row, tenant)
    return f"says something else in its column {differs}" if differs else ""


def _differs(row: Row, tenant: str) -> str:
    """The first column that does not say what the body says."""
    try:
        said = json.loads(row["body"])
    except ValueError:
        return "body"
    if not isinstance(said, dict) or row["tenant"] != tenant:
        return "tenant"
    columns = {**row, "at": text_of(row["at"]), "run": row["run_id"]}
    names = ("tenant", "seq", "at", "kind", "run", "approval")
    return next((n for n in names if said.get(n) != columns[n]), "")
