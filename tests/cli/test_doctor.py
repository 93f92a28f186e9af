"""The checks of `rum-ray doctor`."""

import json
import subprocess

import pytest

from rum_ray.cli import doctor

PLAIN = "torchvision imports outside rum_ray"


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
    assert (code, err, out.count("\n")) == (0, "", 1)
    return {check["check"]: (check["state"], check["ok"]) for check in json.loads(out)["checks"]}


def test_the_checks_are_well_here_and_nothing_is_written(call, tmp_path):
    found = states(call)
    names = {"python", "torch", "torchvision", "ray", "cores", "store", "ray token", PLAIN}
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


def test_a_store_that_cannot_be_written_is_wrong_and_the_exit_code_is_0(
    call, plain_import, tmp_path
):
    plain_import(None)
    (tmp_path / "file").write_text("in the way")
    assert states(call, "--store", "file/store")["store"] == ("WRONG", False)


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
