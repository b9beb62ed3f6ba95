"""The manifests of Kubernetes fit the settings, the image and one another.

`make manifests` validates them against the published schemas.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import subprocess
import sys
from argparse import Namespace

import pytest
import yaml

from bridge import Settings
from support.process import ROOT

FOLDER = ROOT / "kubernetes"
MANIFESTS = {
    (one["kind"], one["metadata"]["name"]): one
    for file in sorted(FOLDER.glob("*/*.yaml"))
    if file.name != "kustomization.yaml"
    for one in yaml.safe_load_all(file.read_text())
}
PODS = {
    name: one["spec"]["template"]
    for (kind, name), one in MANIFESTS.items()
    if kind in ("Deployment", "Job")
}
DEPLOYED = [name for kind, name in MANIFESTS if kind == "Deployment"]
#: Seconds that a server needs beside its spread, and a worker beside its grace; see
#: docs/operations.md and bridge/durable/stopping.py.
BESIDE = {"taskbridge-server": 20, "taskbridge-worker": 10}
#: Programs of which several run.
SCALED = list(BESIDE)
#: Secrets that each is told of.
FILES = {"taskbridge-server": 5, "taskbridge-worker": 3, "taskbridge-archive": 2}


def settings_of(name, *folders):
    """Return the settings of a program, as an overlay and what it is over have them."""
    found = {}
    for folder in folders or ("base",):
        shape = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())
        for one in shape["configMapGenerator"]:
            if one["name"] == name:
                found |= dict(line.split("=", 1) for line in one["literals"])
    return found


def secrets():
    """Return the names of the secrets that ``make_secrets.py`` makes."""
    spec = importlib.util.spec_from_file_location("s", ROOT / "compose" / "make_secrets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    logins = [f"postgresql_{one}" for one in (*module.RESULTS, *module.ARCHIVE)]
    known = dict.fromkeys([*module.USERS, *logins], "x")
    options = Namespace(rabbitmq=["r:5672"], postgresql="p:5432")
    made = dict(module.urls({**known, "postgresql": "x"}, options))
    return {*known, *made, "taskbridge_secret"}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_confined_as_the_user_of_the_image(name):
    pod = PODS[name]["spec"]
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    user = re.search(r"--uid (\d+)", (ROOT / "compose" / "Dockerfile").read_text())[1]
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {context[one] for one in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user)}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"]
        assert "env" not in container, "secrets are files, settings a map"
    assert not [kind for kind, _ in MANIFESTS if kind == "Secret"]


@pytest.mark.parametrize("name", DEPLOYED)
@pytest.mark.parametrize("folders", [("base",), ("base", "example")], ids=str)
def test_the_settings_are_ones_and_name_secrets_that_are_made(name, folders):
    given = settings_of(name, *folders)
    files = {variable: value for variable, value in given.items() if variable.endswith("_FILE")}
    plain = {variable: value for variable, value in given.items() if variable not in files}
    settings = Settings.from_environ(plain)
    assert settings.queue_type == "quorum" or name not in SCALED
    [mount] = [
        one["mountPath"]
        for one in PODS[name]["spec"]["containers"][0]["volumeMounts"]
        if one["name"] == "secrets"
    ]
    assert {file.rpartition("/")[0] for file in files.values()} == {mount}
    assert {file.rpartition("/")[2] for file in files.values()} <= secrets()
    assert len(files) == FILES[name]
    assert ("TASKBRIDGE_SECRET_FILE" in files) is (name == "taskbridge-server")


def test_each_program_has_a_secret_with_the_files_that_it_is_told_of(tmp_path):
    for name in secrets():
        (tmp_path / name).write_text(f"of {name}")
    script = [sys.executable, ROOT / "kubernetes" / "secrets.py"]
    told = json.loads(subprocess.check_output([*script, tmp_path]))
    held = {one["metadata"]["name"]: one["data"] for one in told["items"]}
    server = base64.b64decode(held["taskbridge-server"]["taskbridge_secret"])
    assert server == b"of taskbridge_secret"
    for name in DEPLOYED:
        given = settings_of(name)
        named = {one.rpartition("/")[2] for key, one in given.items() if key.endswith("_FILE")}
        assert held.pop(name).keys() == named
    login = MANIFESTS["TriggerAuthentication", "taskbridge-scaler"]["spec"]
    assert held.pop("taskbridge-scaler").keys() == {one["key"] for one in login["secretTargetRef"]}
    compose = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text())["services"]
    needed = {*compose["stream"]["secrets"], *compose["results"]["secrets"]}
    assert held.pop("taskbridge-setup").keys() == needed
    assert not held
    empty = subprocess.run([*script, tmp_path / "none"], capture_output=True, text=True)
    assert empty.returncode == 2
    assert empty.stderr.startswith("secrets.py: name the folder that make_secrets.py made: ")


@pytest.mark.parametrize("name", SCALED)
def test_a_pod_may_drain_for_as_long_as_its_program_does(name):
    settings = Settings.from_environ(
        {key: one for key, one in settings_of(name).items() if not key.endswith("_FILE")}
    )
    pod = PODS[name]["spec"]
    hook = pod["containers"][0].get("lifecycle", {}).get("preStop")
    before = int(hook["exec"]["command"][1]) if hook else 0
    drained = settings.drain_spread if name == "taskbridge-server" else settings.stop_grace
    least = before + drained + BESIDE[name]
    assert least <= pod["terminationGracePeriodSeconds"] <= least + 30


@pytest.mark.parametrize("name", SCALED)
def test_a_program_is_spread_over_nodes_and_keeps_all_but_one_of_its_pods(name):
    deployment, pod = MANIFESTS["Deployment", name], PODS[name]
    selector = deployment["spec"]["selector"]
    assert selector["matchLabels"].items() <= pod["metadata"]["labels"].items()
    budget = MANIFESTS["PodDisruptionBudget", name]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": selector}
    spread = pod["spec"]["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    assert all(one["labelSelector"] == selector for one in spread)
    # A worker without its broker keeps its jobs: nothing restarts it for that.
    probes = {one for one in pod["spec"]["containers"][0] if one.endswith("Probe")}
    assert ("livenessProbe" in probes) is (name == "taskbridge-server")
    assert "startupProbe" in probes


def test_the_server_is_asked_where_it_answers():
    settings = settings_of("taskbridge-server")
    [container] = PODS["taskbridge-server"]["spec"]["containers"]
    ports = {one["name"]: str(one["containerPort"]) for one in container["ports"]}
    assert ports == {
        "http": settings["TASKBRIDGE_PORT"],
        "health": settings["TASKBRIDGE_HEALTH_PORT"],
    }
    asked = {one: container[one]["httpGet"] for one in ("startupProbe", "livenessProbe")}
    assert all(one == {"path": "/healthz", "port": "health"} for one in asked.values())
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    service = MANIFESTS["Service", "taskbridge"]["spec"]
    assert service["ports"][0]["targetPort"] in ports
    assert service["selector"] == PODS["taskbridge-server"]["metadata"]["labels"]


def test_workers_are_scaled_on_the_jobs_that_wait_and_run_as_many_as_each_runs():
    scaled = MANIFESTS["ScaledObject", "taskbridge-worker"]["spec"]
    assert ("Deployment", scaled["scaleTargetRef"]["name"]) in MANIFESTS
    assert "replicas" not in MANIFESTS["Deployment", "taskbridge-worker"]["spec"]
    [trigger] = scaled["triggers"]
    asked = trigger["metadata"]
    # Over AMQP, KEDA sees the messages alone that wait.
    assert (asked["protocol"], asked["mode"], asked["excludeUnacknowledged"]) == (
        *("http", "QueueLength", "false"),
    )
    arguments = PODS["taskbridge-worker"]["spec"]["containers"][0]["args"]
    assert asked["value"] == arguments[arguments.index("--concurrency") + 1]
    login = MANIFESTS["TriggerAuthentication", trigger["authenticationRef"]["name"]]
    assert login["spec"]["secretTargetRef"][0]["key"] in secrets()


def test_the_example_changes_what_is_there():
    shape = yaml.safe_load((FOLDER / "example" / "kustomization.yaml").read_text())
    for one in shape["patches"]:
        assert (one["target"]["kind"], one["target"]["name"]) in MANIFESTS
    images = {pod["spec"]["containers"][0]["image"] for pod in PODS.values()}
    assert {one["name"] for one in shape["images"]} == images
