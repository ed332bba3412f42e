"""How a setting is declared, and the list of all of them: the loader and the table both read it.

A *leaf* is a setting with a value of its own. A section (`server`, `gemini`, …) is a model of leaves.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict
from pydantic.fields import FieldInfo

from orchestrator.settings.secrets import Secret

PREFIX: Final = "ORCHESTRATOR_"
T = TypeVar("T")
Path = tuple[str | int, ...]
Items = Annotated[tuple[T, ...], Strict(False)]
"""A list in the file, a tuple here; the items themselves stay strictly typed."""


class Section(BaseModel):
    """Base of every settings model: closed, frozen, strict about types, silent about values."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )


@dataclass(frozen=True, slots=True)
class FromEnv:
    """The variables a setting is read from, instead of `ORCHESTRATOR_<SECTION>__<KEY>`.

    Args:
        names: In order of preference. A secret may also come from a file named by `<NAME>_FILE`.
        needed: True, False, the dotted key of the switch that makes it needed, or `key=value`; several
            conditions, all of which must hold, are separated by ", ".
        in_file: May also be written in config.yaml.
    """

    names: tuple[str, ...]
    needed: bool | str = True
    in_file: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting, where it stands and which variables it listens to."""

    path: tuple[str, ...]
    field: FieldInfo
    source: FromEnv

    @property
    def key(self) -> str:
        return dotted(self.path)

    @property
    def secret(self) -> bool:
        return Secret in kinds(self.field.annotation)

    @property
    def conventional(self) -> str:
        """The variable it would have by the rule; a secret's own name replaces it."""
        return PREFIX + "__".join(self.path).upper()


def leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every leaf below `model`, in the order of declaration."""
    for name, field in model.model_fields.items():
        path = (*above, name)
        if (section := as_section(field.annotation)) is not None:
            yield from leaves(section, path)
            continue
        plain = FromEnv((PREFIX + "__".join(path).upper(),), needed=False, in_file=True)
        yield Leaf(path, field, next((m for m in field.metadata if isinstance(m, FromEnv)), plain))


def kinds(annotation: Any) -> tuple[Any, ...]:
    """The annotation's types without wrappers: `tuple[Secret, ...] | None` gives `(tuple, Secret)`."""
    if get_origin(annotation) is Annotated:
        return kinds(get_args(annotation)[0])
    found = [a for a in get_args(annotation) if a not in (NoneType, Ellipsis)]
    head = get_origin(annotation)
    own = (head,) if isinstance(head, type) else () if found else (annotation,)
    return (*own, *(k for a in found for k in kinds(a)))


def as_section(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that holds the last part of `path`, through lists and maps; None if there is none."""
    for part in path[:-1]:
        field = model.model_fields.get(str(part))
        if field is None:  # an index, or a name in a map: the model is already the item's
            continue
        below = [k for k in kinds(field.annotation) if as_section(k)]
        if not below:
            return None
        model = below[0]
    return model


def dotted(path: Path) -> str:
    """`("a", 0, "b")` as `a[0].b`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def _unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) < len(items):
        raise ValueError("names something twice")
    return items


UNIQUE: Final = AfterValidator(_unique)


def shaped(pattern: str, says: str) -> AfterValidator:
    """Text that matches the whole pattern; the fault reads "must be `says`"."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"must be {says}")
        return text

    return AfterValidator(check)


PLAIN_WORD: Final = shaped(r"[!-~]{1,512}", "visible ASCII without blanks")
VendorName = Annotated[str, Field(min_length=1), PLAIN_WORD]
"""Of a model or an agent, as Gemini spells it."""
