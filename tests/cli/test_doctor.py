"""The checks of `rum-ray doctor`."""

import json
import os
import subprocess
import tempfile

import pytest
from s3_server import serve

from rum_ray.cli import doctor
from rum_ray.cli.sockets import Listener
from rum_ray.cluster import access

PLAIN = "torchvision imports outside rum_ray"


@pytest.fixture(autouse=True)
def machine(tmp_path_factory, monkeypatch):
    """Sockets of Ray, a temporary folder and a token of these tests alone; returns the sockets."""
    listeners: list[Listener] = []
    monkeypatch.setattr(doctor, "ray_listeners", lambda: listeners)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path_factory.mktemp("home") / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    return listeners


@pytest.fixture
def plain_import(monkeypatch):
    """A function that sets the result of `import torchvision` in a new process."""

    def set_result(result: Exception | None) -> None:
        def run(command: list[str], **options: object) -> None:
            assert command[1:] == ["-c", "import torchvision"]
            if result is not None:
                raise result

        monkeypatch.setattr(doctor.subprocess, "run", run)

    return set_result


def states(call, *arguments: str) -> dict[str, tuple[str, bool]]:
    code, out, err = call("doctor", "--json", *arguments)
    assert out.count("\n") == 1
    found = {check["check"]: (check["state"], check["ok"]) for check in json.loads(out)["checks"]}
    wrong = [name for name, (state, _) in found.items() if state == "WRONG"]
    assert json.loads(out)["wrong"] == wrong
    # A script learns of it by the exit code, and a person by a line.
    assert (code, bool(err)) == ((9, True) if wrong else (0, False))
    assert all(name in err for name in wrong)
    return found


def test_the_checks_are_well_here_and_nothing_is_written(call, tmp_path):
    found = states(call)
    names = {"python", "torch", "torchvision", "ray", "cores", "store", "ray token", PLAIN}
    names |= {"store access", "temporary folder", "ray authentication", "ray sockets"}
    assert found.keys() >= names
    assert all(ok for _, ok in found.values())
    assert found["store"] == ("ok", True)
    # Depends on the build of PyTorch; either way it is no failure.
    assert found[PLAIN] in (("ok", True), ("warning", True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("result", "state", "text"),
    [
        (None, "ok", "yes"),
        (subprocess.CalledProcessError(1, "python"), "warning", "rum_ray.models.vision"),
        (subprocess.TimeoutExpired("python", 60), "warning", "60 s"),
    ],
)
def test_a_plain_import_of_torchvision_that_fails_is_a_warning(
    call, plain_import, result, state, text
):
    plain_import(result)
    assert states(call)[PLAIN] == (state, True)
    code, out, err = call("doctor")
    assert (code, err) == (0, "")
    (line,) = (line for line in out.splitlines() if PLAIN in line)
    assert state in line
    assert text in line


def test_a_store_that_cannot_be_written_is_wrong(call, plain_import, tmp_path):
    plain_import(None)
    (tmp_path / "file").write_text("in the way")
    assert states(call, "--store", "file/store")["store"] == ("WRONG", False)


def test_a_bucket_is_asked_and_its_keys_are_not_shown(call, plain_import, tmp_path, monkeypatch):
    plain_import(None)
    with serve(tmp_path) as server:
        there = server.bucket()
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        for store, ok in ((there, False), (there.replace("//", "//key:hidden@"), True)):
            absent = store.replace("/a/store", "0/a/store")
            for each, state in ((store, ok), (absent, False)):
                _, out, _ = call("doctor", "--json", "--store", each)
                checks = {check["check"]: check["ok"] for check in json.loads(out)["checks"]}
                assert checks["store"] == state
                assert "hidden" not in out


@pytest.mark.parametrize(("mode", "state"), [(0o600, "ok"), (0o644, "WRONG")])
def test_a_token_that_others_can_read_is_wrong(
    call, plain_import, tmp_path, monkeypatch, mode, state
):
    plain_import(None)
    token = tmp_path / "token"
    token.write_text("a" * 64)
    token.chmod(mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert states(call)["ray token"] == (state, state == "ok")


@pytest.mark.parametrize(
    ("mode", "state"), [(0o700, "ok"), (0o750, "warning"), (0o755, "warning"), (0o777, "WRONG")]
)
@pytest.mark.parametrize("name", ["store access", "temporary folder"])
def test_a_folder_that_others_can_change_is_wrong(call, plain_import, tmp_path, name, mode, state):
    plain_import(None)
    temporary = tempfile.gettempdir() + f"/rum-ray-{os.getuid()}"
    folder = tmp_path / "store" if name == "store access" else type(tmp_path)(temporary)
    folder.mkdir()
    folder.chmod(mode)
    assert states(call)[name] == (state, state != "WRONG")


@pytest.mark.parametrize(("around", "state"), [(0o700, "ok"), (0o755, "warning")])
def test_a_folder_of_ray_that_every_user_can_change_is_a_warning(
    call, plain_import, tmp_path, monkeypatch, around, state
):
    plain_import(None)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "temporary"))
    assert states(call)["ray folder"] == ("ok", True)
    (tmp_path / "temporary" / "ray").mkdir(parents=True)
    (tmp_path / "temporary" / "ray").chmod(0o777)
    (tmp_path / "temporary").chmod(around)
    assert states(call)["ray folder"] == (state, True)


def test_a_ray_without_authentication_is_wrong(call, plain_import, monkeypatch):
    plain_import(None)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert states(call)["ray authentication"] == ("WRONG", False)


def test_a_home_that_cannot_hold_the_token_is_told(call, plain_import, monkeypatch):
    plain_import(None)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/dev/null/.ray/auth_token")
    assert states(call)["ray token"] == ("WRONG", False)


@pytest.mark.parametrize(("asks", "state"), [(True, "ok"), (False, "WRONG"), (None, "warning")])
def test_clusters_here_and_at_an_address_are_asked_for_a_token(
    call, plain_import, machine, monkeypatch, asks, state
):
    plain_import(None)
    asked = []
    monkeypatch.setattr(access, "asks_for_token", lambda head: asked.append(head) or asks)
    machine += [Listener("gcs_server", "::", 6379), Listener("raylet", "127.0.0.1", 7000)]
    found = states(call, "--address", "head:6400")
    assert asked == ["127.0.0.1:6379", "head:6400"]
    for head in asked:
        assert found[f"cluster {head}"] == (state, state != "WRONG")
    assert found["ray sockets"] == ("warning", True)
    _, out, _ = call("doctor", "--json")
    (line,) = (c["found"] for c in json.loads(out)["checks"] if c["check"] == "ray sockets")
    assert "gcs_server 6379" in line
    assert "7000" not in line


@pytest.mark.parametrize("address", ["nonsense", "head:", "head:70000", "http://head:6379"])
def test_what_is_no_address_is_an_error(call, address):
    code, _, err = call("doctor", "--address", address)
    assert (code, err.count("--address")) == (2, 1)
