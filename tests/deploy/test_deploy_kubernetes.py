"""`.deploy/kubernetes`: by Kubernetes' own schemas, and against our own program."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from deploy_kit import (
    DEPLOY,
    PROBES,
    ROOT,
    SECRETS,
    documents,
    known_variables,
    longest_stop,
    needed,
    ours,
    parse,
    settings_of,
    write_secrets,
)

from orchestrator import tooling
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings, load
from orchestrator.web.health import PATIENCE_SECONDS

FOLDER: Final = DEPLOY / "kubernetes"
VERSIONS: Final = ("1.30", "1.34", "1.37")
"""The oldest the page names, and what was current while this was written."""
KUSTOMIZATION: Final[dict[str, Any]] = documents(FOLDER / "kustomization.yaml")[0]
MANIFESTS: Final = [
    d for name in (*KUSTOMIZATION["resources"], "secret.example.yaml") for d in documents(FOLDER / name)
]
PODS: Final = {
    d["metadata"]["labels"]["app.kubernetes.io/component"]: d["spec"]["template"]
    for d in MANIFESTS
    if d["kind"] in ("Deployment", "Job")
}
DEPLOYMENTS: Final = {
    d["metadata"]["labels"]["app.kubernetes.io/component"]: d["spec"]
    for d in MANIFESTS
    if d["kind"] == "Deployment"
}
CONNECTIONS: Final = 97
"""PostgreSQL's default 100, less the three it keeps for its administrator."""
FRESH_SECONDS: Final = 60
"""As in healthcheck.py; a test of its own holds the two together."""


def container(role: str) -> dict[str, Any]:
    (only,) = PODS[role]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def environment(role: str) -> dict[str, str]:
    return {e["name"]: e["value"] for e in container(role)["env"]}


def loaded(role: str, tmp_path: Path) -> Settings:
    """The ConfigMap's settings, with what this container is given."""
    (secrets,) = (v["secret"] for v in PODS[role]["spec"]["volumes"] if v["name"] == "secrets")
    write_secrets(tmp_path / "secrets", [i["path"] for i in secrets.get("items", [])] or tuple(SECRETS))
    return settings_of(
        environment(role),
        FOLDER / "config.yaml",
        mounted={"/run/secrets/orchestrator": tmp_path / "secrets"},
        need_secrets=role != "migrate",
    )


def probes(role: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((n, p) for n, p in container(role).items() if n.endswith("Probe"))


def validate(manifests: list[dict[str, Any]], version: str) -> None:
    validator = needed("kubernetes_validate")
    for manifest in manifests:
        validator.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(version: str) -> None:
    validate(MANIFESTS, version)
    wrong = yaml.safe_load(yaml.safe_dump(MANIFESTS[0]))
    wrong["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(needed("kubernetes_validate").ValidationError):
        validate([wrong], version)


def test_kustomize_puts_it_together() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on this machine")
    built = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True)
    whole = list(yaml.safe_load_all(built.stdout))
    validate(whole, VERSIONS[-1])
    (config,) = (d for d in whole if d["kind"] == "ConfigMap")
    assert config["data"]["config.yaml"] == (FOLDER / "config.yaml").read_text(encoding="utf-8")
    assert config["metadata"]["labels"]["app.kubernetes.io/component"] == "config"
    for pod in (d["spec"]["template"]["spec"] for d in whole if d["kind"] in ("Deployment", "Job")):
        (mounted,) = (v["configMap"]["name"] for v in pod["volumes"] if v["name"] == "config")
        assert mounted == config["metadata"]["name"] != "orchestrator-config"


def test_the_secret_is_an_example_and_no_more() -> None:
    (secret,) = (d for d in MANIFESTS if d["kind"] == "Secret")
    assert set(secret["stringData"]) == set(SECRETS)
    assert set(secret["stringData"].values()) == {"replace"}
    assert "secret.example.yaml" not in KUSTOMIZATION["resources"]


def test_the_config_map_fits_the_tools_of_the_image(tmp_path: Path) -> None:
    settings = loaded("web", tmp_path)
    tools = settings.tools.model_copy(update={"folder": str(ROOT / "tools")})
    names = {t.name for t in tooling.toolkit(settings.model_copy(update={"tools": tools})).tools}
    assert {"lookup_order", "refund_order"} <= names
    assert settings.public_url is not None


@pytest.mark.parametrize("role", PODS)
def test_our_program_takes_the_arguments_and_the_environment(role: str, tmp_path: Path) -> None:
    assert "command" not in container(role)  # the image's entrypoint, found by its own PATH
    parse(container(role)["args"])
    assert loaded(role, tmp_path).database.url.reveal() == SECRETS["database_url"]
    assert set(ours(environment(role))) <= known_variables()


@pytest.mark.parametrize("role", PODS)
def test_pods_are_confined(role: str) -> None:
    pod, only = PODS[role]["spec"], container(role)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {m["mountPath"] for m in only["volumeMounts"] if not m.get("readOnly")} == {"/tmp"}  # noqa: S108
    assert {m["name"] for m in only["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert set(only["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in only["resources"]["limits"]


@pytest.mark.parametrize("role", PODS)
def test_secret_files_can_be_read_by_the_pods_group_only(role: str) -> None:
    (secret,) = (v["secret"] for v in PODS[role]["spec"]["volumes"] if v["name"] == "secrets")
    assert secret["defaultMode"] == 0o440
    assert PODS[role]["spec"]["securityContext"]["fsGroup"] == 10001


def test_no_service_puts_its_address_among_our_settings(tmp_path: Path) -> None:
    """Kubernetes tells pods of every Service by variables; ours would be settings that nobody knows."""
    (service,) = (d for d in MANIFESTS if d["kind"] == "Service")
    told = f"{service['metadata']['name'].upper()}_SERVICE_HOST"
    write_secrets(tmp_path / "secrets")
    with pytest.raises(ConfigError, match=told):
        load(FOLDER / "config.yaml", {told: "10.0.0.1"}, need_secrets=False)
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in PODS.values())


def test_the_web_is_asked_at_doors_it_has() -> None:
    asked = {name: probe["httpGet"] for name, probe in probes("web")}
    assert set(asked) == {"startupProbe", "livenessProbe", "readinessProbe"}
    assert {a["path"] for a in asked.values()} == PROBES == {"/healthz", "/readyz"}
    assert asked["readinessProbe"]["path"] == "/readyz"
    assert asked["livenessProbe"]["path"] == "/healthz"
    ports = {p["name"]: p["containerPort"] for p in container("web")["ports"]}
    assert {a["port"] for a in asked.values()} == set(ports)
    assert f"ORCHESTRATOR_SERVER__PORT={ports['http']}" in (DEPLOY / "Dockerfile").read_text()


def test_a_readiness_probe_waits_as_long_as_its_answer_may_take() -> None:
    probe = dict(probes("web"))["readinessProbe"]
    assert probe["timeoutSeconds"] > 2 * PATIENCE_SECONDS


def test_a_worker_is_asked_by_the_file_it_touches() -> None:
    args = container("worker")["args"]
    pulse = args[args.index("--pulse") + 1]
    assert set(dict(probes("worker"))) == {"startupProbe", "livenessProbe"}
    for _, probe in probes("worker"):
        assert probe["exec"]["command"][-1] == pulse
    assert (
        f'"{probe["exec"]["command"][2]}"' in (DEPLOY / "Dockerfile").read_text()
    )  # the file is in the image
    assert f"STALE_SECONDS = {FRESH_SECONDS:.1f}" in (DEPLOY / "healthcheck.py").read_text()


@pytest.mark.parametrize("role", DEPLOYMENTS)
def test_a_stop_has_the_time_it_takes(role: str, tmp_path: Path) -> None:
    given = PODS[role]["spec"]["terminationGracePeriodSeconds"]
    before = container(role).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    settings = loaded(role, tmp_path)
    assert settings.server.graceful_seconds >= 10
    assert given >= before + longest_stop(settings)


@pytest.mark.parametrize("role", DEPLOYMENTS)
def test_selectors_budgets_and_spread_mean_the_pods_of_the_role(role: str) -> None:
    labels = PODS[role]["metadata"]["labels"]
    assert DEPLOYMENTS[role]["selector"]["matchLabels"] == labels
    (budget,) = (
        d["spec"]
        for d in MANIFESTS
        if d["kind"] == "PodDisruptionBudget" and d["spec"]["selector"]["matchLabels"] == labels
    )
    assert budget["maxUnavailable"] < DEPLOYMENTS[role]["replicas"]
    (spread,) = PODS[role]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels


def test_the_service_leads_to_the_web_and_to_nobody_else() -> None:
    (service,) = (d["spec"] for d in MANIFESTS if d["kind"] == "Service")
    fitting = [
        r for r, pod in PODS.items() if service["selector"].items() <= pod["metadata"]["labels"].items()
    ]
    assert fitting == ["web"]
    assert service["ports"][0]["targetPort"] in {p["name"] for p in container("web")["ports"]}


def test_nothing_chooses_its_own_namespace() -> None:
    assert not any("namespace" in d["metadata"] for d in MANIFESTS)
    assert "namespace" not in KUSTOMIZATION


def test_the_connections_fit_in_the_middle_of_a_rollout(tmp_path: Path) -> None:
    most = sum(d["replicas"] + d["strategy"]["rollingUpdate"]["maxSurge"] for d in DEPLOYMENTS.values())
    assert (most + 1) * (loaded("web", tmp_path).database.pool + 2) <= CONNECTIONS
