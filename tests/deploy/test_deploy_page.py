"""`.deploy/README.md` says what the kit and the program do."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
from deploy_kit import DEPLOY, ROOT, SECRETS, documents, parse

PAGE: Final = (DEPLOY / "README.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMPOSE: Final = documents(DEPLOY / "compose.yaml")[0]


def lines() -> list[list[str]]:
    """Every line for our program, as its words: in the text, in a shell, in a container."""
    inline = re.findall(r"`orchestrator ([a-z][^`]*)`", PAGE)
    shell = re.findall(r"bin/orchestrator (.*)", "".join(BLOCKS))
    contained = re.findall(r"run --rm --no-deps web (.*)", "".join(BLOCKS))
    return [text.split() for text in [*inline, *shell, *contained]]


@pytest.mark.parametrize("words", lines(), ids=" ".join)
def test_our_program_takes_the_line(words: list[str]) -> None:
    parse(words)


def test_files_and_folders_it_names_exist() -> None:
    named = set(re.findall(r"(?:^|[ =(])(\.deploy/[\w./-]*\w)", "\n".join(BLOCKS), re.MULTILINE))
    named |= {f".deploy/{link}" for link in re.findall(r"\]\(([\w./-]+)\)", PAGE)}
    named |= set(re.findall(r"requirements/\w+\.txt", PAGE))
    assert len(named) > 6
    for name in named:
        assert name.startswith(".deploy/secrets") or (ROOT / name).exists(), name


def test_what_it_selects_is_there() -> None:
    text = "".join(
        (DEPLOY / "kubernetes" / f).read_text() for f in ("migrate.yaml", "web.yaml", "worker.yaml")
    )
    text += (DEPLOY / "kubernetes" / "kustomization.yaml").read_text()
    asked = re.findall(r"component=(\w+)", PAGE)
    asked += re.findall(r"\w+", re.search(r"component in \((.*?)\)", PAGE)[1])  # type: ignore[index]
    assert set(asked) == set(re.findall(r"app.kubernetes.io/component: (\w+)", text))
    for kind, name in re.findall(r"\b(job|deployment)[/ ]([a-z]+-[a-z]+)", PAGE):
        assert re.search(rf"kind: {kind}\nmetadata:\n  name: {name}\n", text, re.IGNORECASE), name
    services = re.findall(r"--no-deps (\w+)|--scale (\w+)=", PAGE)
    assert {a or b for a, b in services} <= set(COMPOSE["services"])
    for unit in re.findall(r"orchestrator-worker@", PAGE):
        assert (DEPLOY / "systemd" / f"{unit}.service").exists()


def test_its_lines_make_the_secrets_that_compose_reads(tmp_path: Path) -> None:
    (block,) = (b for b in BLOCKS if "postgres_password" in b)
    (tmp_path / ".deploy").mkdir()
    subprocess.run(["sh", "-eu"], input=block, text=True, cwd=tmp_path, check=True, timeout=100)
    folder = tmp_path / ".deploy" / "secrets"
    made = {f.name: f.read_text() for f in folder.iterdir()}
    assert {f"./secrets/{name}" for name in made} == {s["file"] for s in COMPOSE["secrets"].values()}
    assert set(made) == {*SECRETS, "postgres_password"}
    postgres = COMPOSE["services"]["postgres"]["environment"]
    assert made["database_url"] == (
        f"postgresql+psycopg://{postgres['POSTGRES_USER']}:{made['postgres_password']}"
        f"@postgres/{postgres['POSTGRES_DB']}"
    )
    assert len(made["postgres_password"]) == 48
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {f.stat().st_mode & 0o777 for f in folder.iterdir()} == {0o444}


def test_git_never_sees_a_secret() -> None:
    path = ".deploy/secrets/gemini_api_key"
    done = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert "secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()
