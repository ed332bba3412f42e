"""The README says what the program says."""

import re
from pathlib import Path

from orchestrator.settings import markdown_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_current() -> None:
    assert README.rstrip().endswith(markdown_table().rstrip())


def test_folders_and_targets_it_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile, target
    for folder in re.findall(r"`(tests/[a-z]+)`", README):
        assert (ROOT / folder).is_dir(), folder


def test_the_locks_name_no_registry() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://", text), lock
