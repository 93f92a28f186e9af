"""The file for `ray up`, by Ray's own validator after its defaults, and the project's own rules."""

import copy
import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "deploy" / "ray_up.yaml").read_text("utf-8"))


def prepared(change=lambda config: None):
    config = copy.deepcopy(CONFIG)
    change(config)
    return prepare_config(config)


def test_ray_accepts_the_file():
    validate_config(prepared())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda c: c.update(max_worker=3), jsonschema.ValidationError),
        (lambda c: c.update(head_node_type="nobody"), ValueError),
        (lambda c: c["available_node_types"]["spot"].update(min_workers=99), ValueError),
    ],
)
def test_ray_refuses_a_wrong_file(change, error):
    with pytest.raises(error):
        validate_config(prepared(change))


def test_workers_are_spot_instances_from_zero_and_the_head_is_not():
    types = prepared()["available_node_types"]
    head, spot = types[CONFIG["head_node_type"]], types["spot"]
    assert spot["min_workers"] == 0 < spot["max_workers"] <= CONFIG["max_workers"]
    assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["resources"]["CPU"] == 0


def test_the_mounted_files_exist_and_hold_what_the_setup_installs():
    local = {remote: path for remote, path in CONFIG["file_mounts"].items() if "~" not in path}
    assert all((ROOT / path).exists() for path in local.values())
    text = json.dumps(CONFIG["setup_commands"])
    for name in ("requirements.txt", "requirements-cuda.txt"):
        assert f"~/rum-ray/deploy/{name}" in text
        assert (ROOT / "deploy" / name).exists()


def test_every_node_has_the_token_and_token_mode_before_ray_starts():
    config = prepared()
    assert "~/.ray/auth_token" in config["file_mounts"]
    for kind in ("head", "worker"):
        assert any("RAY_AUTH_MODE=token" in line for line in config[f"{kind}_setup_commands"])
        assert any("chmod 600 ~/.ray/auth_token" in c for c in config[f"{kind}_setup_commands"])
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


def test_every_command_is_shell():
    config = prepared()
    names = [name for name in config if name.endswith("_commands")]
    commands = [command for name in names for command in config[name]]
    assert len(commands) > 10
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
