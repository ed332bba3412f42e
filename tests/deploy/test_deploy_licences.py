"""The licences of what the image installs: one that is not known here is read by a person first."""

import re
from collections.abc import Iterator
from importlib import metadata
from typing import Final

import pytest
from deploy_kit import ROOT

LOCKED: Final = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
FREE: Final = (
    *("MIT", "MIT License", "MIT-0", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0"),
    *("Apache Software License", "PSF-2.0", "Python Software Foundation License", "ISC License (ISCL)"),
    "Mozilla Public License 2.0 (MPL 2.0)",
)
LINKED: Final = {"psycopg", "psycopg-binary"}
"""LGPL-3.0-only: used as the libraries they are, unchanged, by who installs the extra `postgres`."""


def locked() -> list[str]:
    """Those of this system; the others' stand beside them."""
    names = LOCKED.findall((ROOT / "requirements" / "postgres.txt").read_text(encoding="utf-8"))
    here = {about.name.replace("_", "-").lower() for about in metadata.distributions()}
    return [name for name in names if name in here]


def licences(name: str) -> Iterator[str]:
    """As the package says itself: each of an expression or of its classifiers."""
    about = metadata.metadata(name)
    if said := about.get("License-Expression"):
        yield from re.split(r" AND | OR ", said)
        return
    told = [c for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    yield from (c.rpartition(" :: ")[2] for c in told)
    if not told:
        yield (about.get("License") or "none").partition("\n")[0]


@pytest.mark.parametrize("name", locked())
def test_what_is_installed_may_be_used_by_anybody(name: str) -> None:
    said = ["LGPL-3.0-only"] if name in LINKED else FREE
    assert [one for one in licences(name) if one not in said] == []
