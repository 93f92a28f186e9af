import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import typer

import rum_ray
from rum_ray import __version__, config
from rum_ray.cli import app
from rum_ray.errors import BusyError
from rum_ray.study.output_folder import EXPERIMENT, lock_folder

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
VERBS = ["demo", "run", "train", "score", "refine", "unlearn", "evaluate", "tune", "ladder"]
VERBS += ["report", "estimate", "doctor", "prepare", "delete", "verify", "purge", "gc"]
VERBS += ["reproduce"]
RESULTS = {"--set", "--seed", "--out", "--store"}
COMPUTING = {*RESULTS, "--address", "--dashboard", "--insecure", "--dry-run"}
OWN = {
    "demo": {"--track"},
    "doctor": {"--address", "--store"},
    "report": {"files", "--track", *RESULTS, "--public"},
    "run": {"file", "--track"},
    "reproduce": {"item", "--data", "--preset", "--track"},
    "tune": {"file", "--pick"},
    "estimate": {"file", "--command", "--price", "--set", "--seed", "--store"},
    "delete": {"file", "--forget", "--public"},
    "verify": {"folder"},
    "purge": {"file", "--yes", *RESULTS},
    "gc": {"--yes", "--out", "--store"},
}
IDLE = {"doctor", "report", "estimate", "verify", "purge", "gc"}
"""Commands that run no job."""
JOINING = {
    **{verb: (verb, "small.yaml") for verb in VERBS if verb not in IDLE},
    "demo": ("demo",),
    "ladder": ("ladder", str(DEMO)),
    "reproduce": ("reproduce", "es"),
    "delete": ("delete", "small.yaml", "--forget", "none.txt"),
}
"""Command lines of all commands that may join a Ray."""

SMALL = """
name: small
data: digits
recipe: {model: mlp, epochs: 1, batch_size: 64}
score: {name: confidence}
forget: {size: 30}
compare: [finetune]
"""


@pytest.fixture(autouse=True)
def _files(tmp_path):
    """A small experiment, and a file that is in the way."""
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "file").write_text("in the way\n")


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def commands() -> dict[str, typer.core.TyperCommand]:
    return typer.main.get_command(app.app).commands


def test_the_verbs_are_these():
    assert sorted(commands()) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_flags_that_have_an_effect_in_it(verb):
    options = {name for parameter in commands()[verb].params for name in parameter.opts}
    expected = OWN.get(verb, {"file"}) | (set() if verb in IDLE else COMPUTING)
    assert options - {"--help"} == expected | {"--json", "--debug"}


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_the_verbs(call, monkeypatch, arguments):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    assert all(f" {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(call, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = call(verb, "--help")
    assert (code, err) == (0, "")
    listed = set(re.findall(r"--[a-z][\w-]*", out))
    assert listed >= {
        name for each in commands()[verb].params for name in each.opts if "--" in name
    }


def test_version(call):
    assert call("--version") == (0, f"{__version__}\n", "")


def test_a_dry_run_counts_what_attacks_ask_of_the_pool(call):
    small = ["--set", "score.models=40", "--set", "recipe.epochs=1"]
    stages = {}
    for also in ("[]", "[pool_rmia, u_lira]"):
        code, out, err = call(
            "demo", "--dry-run", "--json", *small, "--set", f"evaluate.also={also}"
        )
        assert (code, err) == (0, "")
        stages[also] = {s["stage"]: s for s in json.loads(out)["forecast"]}
    plain, asked = stages.values()
    assert asked["rows"]["total"] == asked["rows"]["missing"] == plain["rows"]["total"] + 40
    assert "shadows" not in plain
    # The searched plan, the best single unlearner and the file's plan, on each model; a plan costs
    # half a training at most.
    assert (asked["shadows"]["total"], asked["shadows"]["missing"]) == (120, 120)
    assert asked["shadows"]["trainings"] == pytest.approx(120 * 0.5 * 0.7)


def hold(out: Path) -> subprocess.Popen[str]:
    """Start a process that holds an output folder until its standard input is closed."""
    out.mkdir(parents=True)
    code = """if True:
        import fcntl, os, sys
        lock = open(sys.argv[1], "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        print("process", os.getpid(), file=lock, end="", flush=True)
        print("held", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", code, out / ".lock"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


def test_an_output_folder_in_use(call, tmp_path):
    with hold(tmp_path / "out" / "small") as holder:
        before = listing(tmp_path)
        code, out, err = call("run", "small.yaml")
        assert (code, out) == (4, "")
        wait = "Wait for it, or name another --out"
        assert err == f"rum-ray: out/small is in use by process {holder.pid}. {wait}.\n"
        assert listing(tmp_path) == before
        holder.stdin.close()
    with lock_folder(tmp_path / "out" / "small", config.load("small.yaml")):
        pass


def test_a_folder_is_held_by_one_and_left_as_it_should_be(tmp_path):
    experiment, out = config.load(DEMO), tmp_path / "out"
    with lock_folder(out, experiment):
        with pytest.raises(BusyError, match=rf"is in use by process {os.getpid()}\."):
            lock_folder(out, experiment).__enter__()
        assert config.load(out / EXPERIMENT) == experiment
    with lock_folder(out, config.load(DEMO, ["name=other", "cluster.workers=1"])):
        assert config.load(out / EXPERIMENT).name == "other"
    other = config.load(DEMO, ["recipe.lr=0.2"])
    with pytest.raises(BusyError, match=rf"another experiment .*this one is {other.digest[:12]}"):
        lock_folder(out, other).__enter__()
    (out / EXPERIMENT).write_text("[")
    with pytest.raises(BusyError, match=r"experiment\.yaml cannot be used: .*YAML"):
        lock_folder(out, experiment).__enter__()


@pytest.mark.parametrize("known", ["name: [", config.dump(config.load(DEMO))])
def test_an_output_folder_of_another_experiment(call, tmp_path, known):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / EXPERIMENT).write_text(known)
    before = listing(tmp_path)
    code, out, err = call("run", "small.yaml", "--out", "out")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert re.match(r"rum-ray: out (holds|may hold) another experiment", err)
    assert listing(tmp_path) == before


def test_errors_come_before_heavy_imports(tmp_path):
    code = """if True:
        import os, sys
        os._exit = lambda code: print(code, "ray" in sys.modules)
        from rum_ray.cli import app
        sys.argv = ["rum-ray", "run", "no.yaml"]
        app.main()
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "2 False\n"


def test_help_is_quick_and_a_closed_pipe_is_quiet(tmp_path, record_property):
    start = time.monotonic()
    command = [Path(sys.executable).with_name("rum-ray"), "--help"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    record_property("seconds of rum-ray --help", time.monotonic() - start)
    assert (done.returncode, done.stderr) == (0, b"")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.stderr == b""


def test_a_terminal_that_lacks_characters(call, monkeypatch):
    with open(1, "w", encoding="ascii", closefd=False) as ascii_only:
        monkeypatch.setattr(sys, "stdout", ascii_only)
        code, out, err = call("doctor")
    assert (code, err) == (0, "")
    assert "| torch " in out


@pytest.mark.parametrize("name", [None, "store/x"])
def test_a_disk_that_fails_is_no_bug(call, monkeypatch, name):
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    monkeypatch.setattr(config, "load", fail)
    code, out, err = call("run", "small.yaml")
    assert (code, out, err.count("\n")) == (6, "", 1)
    assert err.startswith(f"rum-ray: {f'{name} cannot be used: ' if name else ''}No space left")


def test_a_bug_is_one_line_and_debug_shows_where(call, monkeypatch):
    def fail(*arguments: object) -> None:
        raise ValueError("of two\nlines")

    monkeypatch.setattr(config, "load", fail)
    code, out, err = call("run", "small.yaml")
    assert (code, out) == (1, "")
    assert err.startswith("rum-ray: a bug: ValueError: of two lines. Run again with --debug")
    assert err.count("\n") == 1
    code, out, err = call("run", "small.yaml", "--debug")
    assert (code, out) == (1, "")
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("rum-ray: a bug: ValueError: of two lines.")


def test_debug_keeps_the_exit_code(call):
    code, out, err = call("run", "no.yaml", "--debug")
    assert (code, out) == (2, "")
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("rum-ray: experiment no.yaml cannot be read")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_with_75(call, monkeypatch, number, request):
    # A process of pytest-xdist ignores SIGINT, which a shell's command does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(partial(signal.signal, signal.SIGINT, before))

    def interrupted(*arguments: object) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(config, "load", interrupted)
    message = "rum-ray: interrupted; the same command goes on from here.\n"
    assert call("run", "small.yaml") == (75, "", message)


SEARCHES = ["ranges", "search", "validate"]
STAGES = ["train", "embed", "retrain", *SEARCHES, "rows"]


@pytest.mark.parametrize("arguments", [["demo", "--dry-run"], ["estimate", str(DEMO)]])
def test_a_dry_run_tells_the_stages_and_writes_nothing(call, tmp_path, arguments):
    small = ["--set", "score.models=40", "--set", "recipe.epochs=1"]
    before = listing(tmp_path)
    code, out, err = call(*arguments, *small)
    assert (code, err) == (0, "")
    devices = ["1", "2", "8", "64", "512"] if arguments[0] == "estimate" else []
    named = re.findall(r"^│ (\w+(?: V\d)?) ", out, re.MULTILINE)
    assert named == [*STAGES, "all", *devices]
    code, out, err = call(*arguments, *small, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    forecast = json.loads(out)["forecast"]
    assert [stage["stage"] for stage in forecast] == STAGES
    assert forecast[0].keys() == {"stage", "total", "missing", "trainings", "seconds"}
    assert forecast[0]["total"] == forecast[0]["missing"] == 40 + 10 + 3 + 5
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("verb", "stages"),
    [
        ("train", ["train", "retrain"]),
        ("score", ["train"]),
        ("refine", ["train", "embed"]),
        ("unlearn", ["train", "unlearn"]),
        ("evaluate", ["train", "retrain", "rows"]),
        ("tune", ["train", "references", *SEARCHES]),
    ],
)
def test_a_dry_run_is_that_of_its_verb(call, verb, stages):
    small = ["--set", "score.models=40", "--set", "recipe.epochs=1"]
    code, out, err = call(verb, str(DEMO), *small, "--dry-run", "--json")
    assert (code, err) == (0, "")
    forecast = json.loads(out)["forecast"]
    assert [stage["stage"] for stage in forecast] == stages
    assert all(stage["missing"] == stage["total"] > 0 for stage in forecast)


def test_an_estimate_has_a_price_and_writes_nothing(call, tmp_path):
    before = listing(tmp_path)
    line = ["estimate", "small.yaml", "--price", "3", "--command", "score"]
    code, out, err = call(*line, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    answer = json.loads(out)
    assert [stage["stage"] for stage in answer["forecast"]] == ["train"]
    assert [each["devices"] for each in answer["devices"]] == [1, 2, 8, 64, 512]
    for each in answer["devices"]:
        assert each["price"] == pytest.approx(3 * each["device_hours"])
    assert answer["store_bytes"] > 340_000
    assert answer["object_store_bytes"] > 1797 * 64 * 4
    code, out, err = call(*line)
    assert (code, err) == (0, "")
    for word in ("estimate of score", "512", "price", "object store:", "worker:"):
        assert word in out
    assert listing(tmp_path) == before


@pytest.mark.parametrize("arguments", [["--command", "nosuch"], ["--price", "-1"]])
def test_an_estimate_of_nothing(call, arguments):
    code, out, err = call("estimate", "small.yaml", *arguments)
    assert (code, out) == (2, "")
    assert arguments[0] in err


def test_a_dry_run_needs_what_its_verb_needs(call, tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    for verb, key in (("unlearn", "plan"), ("evaluate", "plan"), ("tune", "search")):
        code, out, err = call(verb, "small.yaml", "--dry-run")
        assert (code, out) == (2, "")
        assert f"{key}: this key is missing" in err


GPU = ("--set", "cluster.gpus_per_worker=0.5", "--set", "cluster.workers=1")


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without a GPU."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("verb", JOINING)
def test_a_missing_gpu_is_an_error_at_once(call, tmp_path, verb):
    before = listing(tmp_path)
    code, out, err = call(*JOINING[verb], *GPU)
    assert (code, out) == (2, "")
    assert err.startswith("rum-ray: cluster.gpus_per_worker is 0.5")
    assert listing(tmp_path) == before


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("verb", ["run", "estimate"])
def test_a_forecast_for_gpus_needs_none_and_tells_where_it_was_measured(call, tmp_path, verb):
    arguments = (verb, "small.yaml", *(("--dry-run",) if verb == "run" else ()))
    before = listing(tmp_path)
    code, out, err = call(*arguments, *GPU, "--json")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("cluster.gpus_per_worker is 0.5")
    assert "CPU" in err
    answer = json.loads(out)
    assert all(stage["missing"] and stage["seconds"] for stage in answer["forecast"])
    if verb == "estimate":
        assert answer["measured_on"] == "cpu"
    assert listing(tmp_path) == before


@pytest.mark.usefixtures("no_gpu")
def test_a_report_for_gpus_needs_none(call):
    # It gets further: to the results, which are missing.
    code, _, err = call("report", "small.yaml", *GPU)
    assert (code, "rum-ray run" in err) == (6, True)


@pytest.mark.parametrize("address", ["head:6379", "auto", "local"])
@pytest.mark.parametrize("verb", JOINING)
def test_a_ray_that_asks_for_no_token_is_refused_before_anything_is_written(
    call, tmp_path, monkeypatch, verb, address
):
    from rum_ray.cluster import access

    asked = []
    monkeypatch.setattr(access, "asks_for_token", lambda head: bool(asked.append(head)))
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    before = listing(tmp_path)
    code, out, err = call(*JOINING[verb], "--address", address)
    assert (code, out, err.count("\n")) == (8, "", 1)
    assert "--insecure" in err
    assert asked == ([] if address == "local" else ["head:6379"])
    assert listing(tmp_path) == before


def test_a_dry_run_asks_no_cluster(call, monkeypatch):
    from rum_ray.cluster import access

    monkeypatch.setattr(access, "asks_for_token", lambda head: pytest.fail("it was asked"))
    code, _, err = call("score", "small.yaml", "--dry-run", "--address", "head:6379")
    assert (code, err) == (0, "")
