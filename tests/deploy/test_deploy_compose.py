"""`.deploy/compose.yaml`: by the Compose Specification's own schema, and against our own program."""

import json
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pytest
from deploy_kit import (
    DEPLOY,
    ROOT,
    SECRETS,
    documents,
    known_variables,
    longest_stop,
    needed,
    ours,
    parse,
    seconds,
    settings_of,
    write_secrets,
)
from jsonschema.validators import validator_for

from orchestrator.settings import Settings

COMPOSE: Final[dict[str, Any]] = documents(DEPLOY / "compose.yaml")[0]
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
OURS: Final = ("migrate", "web", "worker")
STANDING: Final = ("web", "worker")
CONNECTIONS: Final = 97
"""PostgreSQL's default 100, less the three it keeps for its administrator."""


def loaded(name: str, tmp_path: Path) -> Settings:
    write_secrets(tmp_path / "secrets", SERVICES[name]["secrets"])
    return settings_of(
        SERVICES[name]["environment"],
        ROOT / "config.yaml",
        mounted={"/run/secrets": tmp_path / "secrets"},
        need_secrets=name != "migrate",
    )


def test_it_is_what_the_specification_describes() -> None:
    package = needed("check_jsonschema").__name__
    schema = resources.files(package) / "builtin_schemas" / "vendor" / "compose-spec.json"
    rules = json.loads(schema.read_text(encoding="utf-8"))
    assert "services" in rules["properties"]
    validator = validator_for(rules)(rules)
    assert [e.message for e in validator.iter_errors(COMPOSE)] == []
    wrong = {**COMPOSE, "services": {"web": {"stop_grace_periods": "1s"}}}
    assert list(validator.iter_errors(wrong))


@pytest.mark.parametrize("name", OURS)
def test_our_program_takes_the_command(name: str) -> None:
    assert (
        parse(SERVICES[name]["command"]).command.name
        == SERVICES[name]["command"][:2][-1 if name == "migrate" else 0]
    )


@pytest.mark.parametrize("name", OURS)
def test_our_settings_take_the_environment_and_the_secrets(name: str, tmp_path: Path) -> None:
    settings = loaded(name, tmp_path)
    assert settings.database.url.reveal() == SECRETS["database_url"]
    assert set(ours(SERVICES[name]["environment"])) <= known_variables()


def test_each_secret_is_declared_and_used() -> None:
    used = {secret for service in SERVICES.values() for secret in service["secrets"]}
    assert used == set(COMPOSE["secrets"])
    assert {s["file"] for s in COMPOSE["secrets"].values()} == {f"./secrets/{name}" for name in used}
    for service in SERVICES.values():
        read = {v for k, v in service["environment"].items() if k.endswith("_FILE")}
        assert read == {f"/run/secrets/{name}" for name in service["secrets"]}


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_is_root_or_can_become_it(name: str) -> None:
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", OURS)
def test_nothing_of_ours_can_be_written_but_tmp_and_the_files_of_long_jobs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert [t.split(":")[0] for t in service["tmpfs"]] == ["/tmp"]  # noqa: S108  the container's own
    assert {v["target"] for v in service["volumes"]} == {
        "/data/files",
        "/etc/orchestrator/config.yaml",
        "/etc/orchestrator/tools",
    }
    (files,) = (v for v in service["volumes"] if v["type"] == "volume")
    assert files == {"type": "volume", "source": "files", "target": "/data/files"}
    for volume in service["volumes"]:
        if volume is files:
            continue
        assert volume["read_only"] is True
        assert (DEPLOY / volume["source"]).exists()


@pytest.mark.parametrize("name", STANDING)
def test_a_stop_has_the_time_it_takes(name: str, tmp_path: Path) -> None:
    assert seconds(SERVICES[name]["stop_grace_period"]) >= longest_stop(loaded(name, tmp_path))


@pytest.mark.parametrize("name", STANDING)
def test_they_come_back_and_wait_for_the_schema(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert SERVICES["migrate"]["restart"] == "no"


def test_the_database_keeps_its_rows_and_shows_itself_to_nobody() -> None:
    postgres = SERVICES["postgres"]
    assert postgres["image"].startswith("postgres:17")
    assert "ports" not in postgres
    assert COMPOSE["networks"]["database"] == {"internal": True}
    assert postgres["networks"] == ["database"]
    volume, _, target = postgres["volumes"][0].partition(":")
    assert volume in COMPOSE["volumes"]
    assert target == "/var/lib/postgresql/data"
    assert "pg_isready" in postgres["healthcheck"]["test"]


def test_the_web_is_for_the_proxy_on_this_machine_only() -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["web"]["ports"])
    assert "ports" not in SERVICES["worker"]
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_a_workers_health_is_the_file_it_touches() -> None:
    command, health = SERVICES["worker"]["command"], SERVICES["worker"]["healthcheck"]["test"]
    assert health[-1] == command[command.index("--pulse") + 1]
    assert health[-1].startswith("/tmp/")  # noqa: S108  the only place it can write


def test_the_connections_fit_with_workers_to_spare(tmp_path: Path) -> None:
    pool = loaded("worker", tmp_path).database.pool
    assert (1 + 2 * SERVICES["worker"]["deploy"]["replicas"]) * (pool + 2) <= CONNECTIONS
