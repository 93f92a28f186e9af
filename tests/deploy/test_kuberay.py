"""The manifests as kubectl renders them: valid, restricted, closed, and of the versions in use."""

import copy
import json
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import typer
import yaml
from ray._private import ray_constants
from ray.autoscaler._private import constants
from ray.dashboard import consts

import rum_ray
from rum_ray import config
from rum_ray.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
KUBERAY = ROOT / "deploy" / "kuberay"
DEVICES = ("cpu", "gpu", "spot")
FOLDERS = [f"{kind}/{device}" for kind in ("overlays", "jobs") for device in DEVICES]
SCHEMAS = json.loads(Path(__file__).with_name("kuberay.json").read_text("utf-8"))
SPOT_LABELS = {
    "cloud.google.com/gke-spot",
    "eks.amazonaws.com/capacityType",
    "karpenter.sh/capacity-type",
    "kubernetes.azure.com/scalesetpriority",
}


@cache
def rendered(kubectl: str, folder: str) -> str:
    command = [kubectl, "kustomize", str(KUBERAY / folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(params=FOLDERS)
def objects(request, program):
    """The rendered objects of a folder, by kind; there is one of each kind."""
    found = [*yaml.safe_load_all(rendered(program("kubectl"), request.param))]
    by_kind = {each["kind"]: each for each in found}
    assert len(by_kind) == len(found)
    return by_kind


@pytest.fixture
def device(request):
    return request.node.callspec.params["objects"].split("/")[1]


def ray_object(objects):
    return objects.get("RayCluster") or objects["RayJob"]


def cluster_of(objects):
    spec = ray_object(objects)["spec"]
    return spec.get("rayClusterSpec", spec)


def pods_of(objects):
    """Return the head's pod and the workers' pod."""
    spec = cluster_of(objects)
    (workers,) = spec["workerGroupSpecs"]
    return spec["headGroupSpec"]["template"]["spec"], workers["template"]["spec"]


def errors(each) -> list[str]:
    schema = {**SCHEMAS[each["kind"]], "$defs": SCHEMAS["$defs"]}
    return [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(each)]


def documented_ports() -> dict[int, str]:
    """Return the ports in the table of docs/howto/cluster.md with the last cell of their rows."""
    text = (ROOT / "docs" / "howto" / "cluster.md").read_text("utf-8")
    found = re.findall(r"^\| `(\d+)` \|.*\| (yes|no) \|$", text, re.M)
    return {int(port): answer for port, answer in found}


def allowed(policy, source: dict[str, str], port: int) -> bool:
    """Return True if the policy lets a source reach a port of a pod of its namespace.

    A source has a `namespace` and an `app`.
    """

    def matches(peer) -> bool:
        if "namespaceSelector" not in peer:
            return source["namespace"] == policy["metadata"]["namespace"]
        space = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        app = labels.get("app.kubernetes.io/name", source["app"])
        return (space, app) == (source["namespace"], source["app"])

    return any(
        any(map(matches, rule["from"]))
        and ("ports" not in rule or port in [each["port"] for each in rule["ports"]])
        for rule in policy["spec"]["ingress"]
    )


def test_core_kinds_and_pods_are_valid(objects):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": pod}
        for pod in pods_of(objects)
    ]
    core = [each for each in objects.values() if not each["apiVersion"].startswith("ray.io")]
    assert len(core) == 4
    for each in (*core, *pods):
        validator.validate(each, validator.latest_version(), strict=True)


def test_ray_kinds_are_valid(objects):
    assert errors(ray_object(objects)) == []
    spec = cluster_of(objects)
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    assert all(isinstance(v, str) for group in groups for v in group["rayStartParams"].values())
    (workers,) = spec["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ((), "rayVersions", "2.60.0"),
        (("authOptions",), "mode", "none"),
        (("autoscalerOptions",), "version", "v3"),
        (("workerGroupSpecs", 0), "replica", 1),
        (("workerGroupSpecs", 0), "maxReplicas", "many"),
        (("headGroupSpec", "template", "spec", "containers", 0), "imge", "any"),
    ],
)
def test_the_schema_refuses_mistakes(program, path, key, value):
    found = yaml.safe_load_all(rendered(program("kubectl"), "overlays/gpu"))
    (cluster,) = [copy.deepcopy(each) for each in found if each["kind"] == "RayCluster"]
    part = cluster["spec"]
    for step in path:
        part = part[step]
    part[key] = value
    assert errors(cluster)


def test_versions_are_those_of_the_project(objects, device):
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    assert cluster_of(objects)["rayVersion"] == pins["ray"]
    build = "cpu" if device == "cpu" else "cuda"
    for pod in pods_of(objects):
        (container,) = pod["containers"]
        assert container["image"].endswith(f"/rum-ray:{rum_ray.__version__}-{build}")


def test_pods_keep_the_restricted_standard(objects):
    labels = objects["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    spec = cluster_of(objects)
    contexts = [c["securityContext"] for pod in pods_of(objects) for c in pod["containers"]]
    for context in (*contexts, spec["autoscalerOptions"]["securityContext"]):
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    for pod in pods_of(objects):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all({"configMap", "persistentVolumeClaim"} & v.keys() for v in pod["volumes"])
        assert all("hostPort" not in p for c in pod["containers"] for p in c["ports"])


def test_the_list_of_ports_is_rays():
    assert set(documented_ports()) == {
        ray_constants.DEFAULT_PORT,
        ray_constants.DEFAULT_DASHBOARD_PORT,
        ray_constants.DEFAULT_DASHBOARD_AGENT_LISTEN_PORT,
        constants.AUTOSCALER_METRIC_PORT,
        consts.DASHBOARD_METRIC_PORT,
        10001,
        8080,
    }


def test_every_port_is_declared_and_closed_to_strangers(objects):
    ports = documented_ports()
    head, worker = (
        {p["containerPort"] for p in pod["containers"][0]["ports"]} for pod in pods_of(objects)
    )
    assert head == set(ports)
    assert worker == {8080, 52365}
    policy = objects["NetworkPolicy"]
    assert policy["spec"]["podSelector"] == {}
    assert "Ingress" in policy["spec"]["policyTypes"]
    space = policy["metadata"]["namespace"]
    assert space == ray_object(objects)["metadata"]["namespace"]
    assert space == objects["Namespace"]["metadata"]["name"]
    sources = {
        "ray": {"namespace": space, "app": "ray"},
        "operator": {"namespace": "kuberay-system", "app": "kuberay-operator"},
        "beside": {"namespace": "kuberay-system", "app": "other"},
        "monitoring": {"namespace": "monitoring", "app": "prometheus"},
        "stranger": {"namespace": "default", "app": "kuberay-operator"},
    }
    reached = {n: {p for p in ports if allowed(policy, s, p)} for n, s in sources.items()}
    assert reached == {
        "ray": set(ports),
        "operator": {8265},
        "beside": set(),
        "monitoring": {8080, 44217, 44227},
        "stranger": set(),
    }


def test_the_token_the_autoscaler_and_the_head_are_as_promised(objects):
    spec = cluster_of(objects)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = spec["workerGroupSpecs"]
    assert workers["minReplicas"] == workers["replicas"] == 0
    for pod in pods_of(objects):
        (container,) = pod["containers"]
        drain = {e["name"]: e["value"] for e in container["env"]}
        assert (
            int(drain["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
            < pod["terminationGracePeriodSeconds"]
        )
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert pod.get("restartPolicy", "Never") == "Never"


def test_volumes_are_claimed_and_mounted_everywhere(objects):
    names = {
        "persistentVolumeClaim": objects["PersistentVolumeClaim"]["metadata"]["name"],
        "configMap": objects["ConfigMap"]["metadata"]["name"],
    }
    assert objects["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods_of(objects):
        volumes = {v["name"]: v for v in pod["volumes"]}
        claims = {v.get("persistentVolumeClaim", {}).get("claimName") for v in volumes.values()}
        maps = {v.get("configMap", {}).get("name") for v in volumes.values()}
        assert {names["persistentVolumeClaim"], names["configMap"]} <= claims | maps
        assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == set(volumes)


def test_gpus_and_spot_nodes_are_asked_for(objects, device):
    head, worker = pods_of(objects)
    (container,) = worker["containers"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (device != "cpu")
    assert "nvidia.com/gpu" not in head["containers"][0]["resources"]["limits"]
    if device != "spot":
        assert "affinity" not in head
        return

    def terms(pod):
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        return pod["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]

    # Terms are alternatives; expressions of one term hold together.
    assert {t["matchExpressions"][0]["key"] for t in terms(worker)} == SPOT_LABELS
    assert all(e["operator"] == "In" for t in terms(worker) for e in t["matchExpressions"])
    (never,) = terms(head)
    assert {e["key"] for e in never["matchExpressions"]} == SPOT_LABELS
    assert all(e["operator"] == "NotIn" for e in never["matchExpressions"])


def test_the_experiment_is_valid_and_fits_the_workers(objects, device, tmp_path):
    file = tmp_path / "experiment.yaml"
    file.write_text(objects["ConfigMap"]["data"]["experiment.yaml"], "utf-8")
    experiment = config.load(file)
    assert (experiment.cluster.gpus_per_worker > 0) == (device != "cpu")


def test_the_job_brings_the_cluster_of_its_overlay(objects, program, request):
    folder = request.node.callspec.params["objects"]
    if "RayJob" not in objects:
        assert folder.startswith("overlays/")
        return
    overlay = yaml.safe_load_all(rendered(program("kubectl"), folder.replace("jobs", "overlays")))
    (cluster,) = [each["spec"] for each in overlay if each["kind"] == "RayCluster"]
    job = objects["RayJob"]["spec"]
    assert job["rayClusterSpec"] == cluster
    assert job["shutdownAfterJobFinishes"] is True
    assert job["submissionMode"] == "HTTPMode"
    assert job["backoffLimit"] > 0


def test_the_entry_point_is_a_command_on_mounted_paths(objects):
    if "RayJob" not in objects:
        return
    program, verb, *rest = shlex.split(objects["RayJob"]["spec"]["entrypoint"])
    assert program == "rum-ray"
    command = typer.main.get_command(app).commands[verb]
    command.make_context(verb, list(rest), resilient_parsing=True)
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known
    head, _ = pods_of(objects)
    mounts = [m["mountPath"] for m in head["containers"][0]["volumeMounts"]]
    paths = [word for word in rest if word.startswith("/")]
    assert len(paths) == 3
    assert all(any(path.startswith(f"{mount}/") for mount in mounts) for path in paths)
