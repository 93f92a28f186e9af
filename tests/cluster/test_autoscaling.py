"""A cluster without workers: Ray's autoscaler starts machines for a command."""

import json
import re
import subprocess
import sys

import pytest
from heads import free_port, running_head
from miniature import flags, of_science

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
"""A provider of machines that are raylets on this one."""
HEAD = "f" * 51 + "00000"
"""The number of the head that the provider expects."""
CPUS = "import ray; ray.init(address='{}'); print('CPUs', ray.cluster_resources().get('CPU', 0.0))"


def machines(port: int) -> dict[str, object]:
    """Configuration of an autoscaler with at most two machines of one CPU."""
    provider = {"type": "external", "module": PROVIDER, "head_node_id": HEAD}
    provider |= {"gcs_address": f"127.0.0.1:{port}", "launch_multiple": True}
    provider |= {"disable_node_updaters": True, "disable_launch_config_check": True}
    size = {"CPU": 1, "object_store_memory": 100 * 2**20}
    commands = ("initialization", "setup", "head_setup", "worker_setup")
    starts = ("head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "zero",
        "max_workers": 2,
        "idle_timeout_minutes": 1,
        "provider": provider,
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "machine": {"resources": size, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        **{f"{name}_commands": [] for name in (*commands, *starts)},
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        "cluster_synced_files": [],
    }


@pytest.fixture
def cluster(place, environment):
    """The address of a head that runs no workers, and a function that returns the CPUs."""
    port = free_port()
    (place / "machines.json").write_text(json.dumps(machines(port)))
    settings = {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "AUTOSCALER_METRIC_PORT": "0",
    }
    options = ["--num-cpus=0", "--include-dashboard=false"]
    options += [f"--autoscaling-config={place / 'machines.json'}"]
    address, mine = f"127.0.0.1:{port}", {**environment, "RAY_AUTH_MODE": "token"}

    def cpus() -> float:
        command = [sys.executable, "-c", CPUS.format(address)]
        done = subprocess.run(command, env=mine, capture_output=True, text=True, check=True)
        return float(re.search(r"^CPUs (.*)$", done.stdout, re.M)[1])

    with running_head(place / "zero", {**environment, **settings}, port, *options):
        yield address, cpus


def test_machines_start_for_a_command(mini, run, cluster):
    address, cpus = cluster
    assert cpus() == 0
    scaled = run("scaled")
    code, _, err = scaled("run", "--address", address, *flags("cluster.workers=2"))
    assert code == 0, err
    assert scaled.artifacts() == mini.artifacts()
    assert of_science(scaled.report()) == of_science(mini.report())
