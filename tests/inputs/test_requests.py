"""Requests to forget, published folders and weights: the place is the list, the file or the key."""

import json
import os
from functools import cache

import torch
from refusals import Row, sets, table
from safetensors.torch import save

from rum_ray import Recipe, Seed, load
from rum_ray.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    PlanError,
    StoreError,
    UnsafeError,
)

MINE = """
name: mine
data: digits
recipe: {model: mlp, weights: w.safetensors, epochs: 60, lr: 0.1, batch_size: 64}
score: {name: auto}
plan: {low: nothing, medium: {name: finetune, epochs: 1}, high: {name: salun, epochs: 2}}
"""
DELETE = ("delete", "mine.yaml", "--forget", "l.txt")


@cache
def state() -> dict[str, torch.Tensor]:
    """Return the new weights of a network for the digits."""
    weights = Recipe("mlp").build(load("digits").train, Seed(0)).state_dict()
    return {name: value.contiguous() for name, value in weights.items()}


def weights(change=lambda name, value: value):
    """Return a function that writes changed weights to a path."""
    return lambda path: path.write_bytes(
        save({name: change(name, value).contiguous() for name, value in state().items()})
    )


def overlapping(path):
    """Write weights of which two share their bytes."""
    content = save({name: value.contiguous() for name, value in state().items()})
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    first, second = [name for name, part in header.items() if len(part.get("shape", ())) == 2][:2]
    header[first]["data_offsets"] = header[second]["data_offsets"]
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[end:])


class Code:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def code(path):
    """Write a file of PyTorch that runs code."""
    torch.save({"weights": Code()}, path)


def ids(first: int, last: int, part: str = "train") -> str:
    return "".join(f"{each}\n" for each in getattr(load("digits"), part).ids[first:last])


GOOD = {"mine.yaml": MINE, "w.safetensors": weights(), "l.txt": "0\n2\n3\n"}
LISTS = [
    ("no byte", "", "l.txt", "empty"),
    ("blank lines", "\n \n", "l.txt", "empty"),
    ("another encoding", b"\xff\xfe", "l.txt", "UTF-8"),
    ("an unknown id", "999999\n", "l.txt", "entry 1 "),
    ("two unknown ids", "999999\ncat\n", "l.txt", "2 of 2", "entry 1, 2 "),
    ("25 unknown ids", "".join(f"a{n}\n" for n in range(25)), "l.txt", ", 10 and 15 more"),
    ("an id twice", "0\n0\n", "l.txt", "entry 1, 2"),
    ("an id twice and an unknown one", "0\n0\n999999\n", "l.txt", "entry 1, 2"),
    ("a number with a point", "0.0\n", "l.txt", "entry 1 "),
    ("a negative number", "-3\n", "l.txt", "entry 1 "),
    ("a path", "cat/1.png\n", "l.txt", "entry 1 "),
    ("ids in one line", "0,2\n", "l.txt", "entry 1 "),
    ("a header", "id\n0\n", "l.txt", "entry 1 "),
    ("Arabic digits", "\u0663\n", "l.txt", "entry 1 "),
    ("a pipe", os.mkfifo, "l.txt", "FIFO"),
    ("a null byte", "0\n\0\n", "l.txt"),
    ("a row of the test set", lambda path: path.write_text(ids(0, 1, "test")), "l.txt", "1 of 1"),
]
PATHS = [
    ("ids in place of a list", DataError, ("--forget", "3,4"), "3,4"),
    ("no such list", DataError, ("--forget", "none.txt"), "none.txt"),
    ("a folder of lists", DataError, ("--forget", "."), "."),
    ("an empty path", DataError, ("--forget", ""), "--forget"),
    ("a device", DataError, ("--forget", "/dev/zero"), "/dev/zero"),
    ("an output that is a file", StoreError, ("--forget", "l.txt", "--out", "mine.yaml"),
     "mine.yaml"),
    ("a store that is a file", StoreError, ("--forget", "l.txt", "--store", "mine.yaml"),
     "mine.yaml"),
    ("a store of FTP", StoreError, ("--forget", "l.txt", "--store", "ftp://x"), "ftp://x"),
]  # fmt: skip
SETTINGS = [
    ("no such weights", "recipe.weights=none.pt", "recipe.weights", "none.pt"),
    ("no weights", "recipe.weights=", "recipe.weights", "rum-ray prepare"),
    ("a subset without an unlearner", "plan={low: nothing}", "plan", "'medium'"),
    ("a plan without a file", "plan=no.yaml", "no.yaml"),
    ("a plan for other subsets", "plan={low: nothing, hard: salun}", "plan", "'hard'"),
    ("auto by class", ("plan=auto", "refine=by_class"), "plan", "refine"),
    ("an order of two", "order=[high, low]", "order"),
    ("distances", "refine=by_entanglement", "refine"),
    ("a score that is not there", "score.name=curvature", "score.name", "'curvature'"),
    ("a score of a pool that is not there", "score.name=memorization", "score.name",
     "rum-ray prepare"),
    ("a pool that is not there", "deletion.reference=pool", "deletion.reference",
     "rum-ray prepare"),
    ("a reference that is none", "deletion.reference=all", "deletion.reference"),
    ("an AUC below chance", "deletion.gates.attack_auc=0.4", "deletion.gates.attack_auc",
     "[0.5, 1]"),
    ("an AUC in per cent", "deletion.gates.attack_auc=55%", "deletion.gates.attack_auc"),
    ("an AUC of no number", "deletion.gates.attack_auc=.nan", "deletion.gates.attack_auc"),
    ("a drop of 2", "deletion.gates.test_accuracy_drop=2", "deletion.gates.test_accuracy_drop",
     "[0, 1]"),
    ("no such gate", "deletion.gates.attack=0.5", "deletion.gates.attack", "'attack_auc'?"),
    ("a list of gates", "deletion.gates=[0.5]", "deletion.gates"),
    ("repeats of one model", "repeats=2", "repeats", "recipe.weights"),
    ("an unlearner's rate of text", "plan.high.lr=1e-3", "plan.high.lr", "write 0.001"),
    ("no such network", "recipe.model=mlpp", "recipe.model", "'mlp'?"),
    ("a GPU that is not there", "cluster.gpus_per_worker=1", "cluster.gpus_per_worker"),
]  # fmt: skip
WEIGHTS = [
    ("no byte", b"", "w.safetensors"),
    ("an experiment", MINE.encode(), "w.safetensors"),
    ("a damaged header", b"\xff" * 64, "w.safetensors"),
    ("a cut file", lambda path: path.write_bytes(save(state())[:-100]), "w.safetensors"),
    ("no finite number", weights(lambda name, value: value * float("nan")), "w.safetensors",
     "finite"),
    ("integers", weights(lambda name, value: value.to(torch.int8)), "w.safetensors", "int8"),
    ("truth values", weights(lambda name, value: value.to(torch.bool)), "w.safetensors", "bool"),
    ("complex numbers", weights(lambda name, value: value.to(torch.complex64)), "w.safetensors",
     "complex64"),
    ("a pipe", os.mkfifo, "w.safetensors", "FIFO"),
    ("a header beyond the file", b"\xff" * 7 + b"\0" + b"{}", "w.safetensors"),
    ("tensors that overlap", overlapping, "w.safetensors"),
    ("an infinite number", weights(lambda name, value: value / 0), "w.safetensors", "finite"),
    ("a turned layer", weights(lambda name, v: v.T if v.ndim == 2 else v), "w.safetensors"),
    ("five classes", weights(lambda name, v: v[:5] if "head" in name else v), "w.safetensors",
     "5 classes"),
    ("one tensor more", lambda path: path.write_bytes(save(state() | {"more": torch.ones(1)})),
     "w.safetensors", "'more'"),
    ("no first layer", lambda path: path.write_bytes(save(dict([*state().items()][1:]))),
     "w.safetensors", "variant"),
    ("no head", lambda path: path.write_bytes(save(dict([*state().items()][:-2]))),
     "w.safetensors", "no head"),
]  # fmt: skip
LEDGER = "out/mine/ledger.jsonl"
OTHERS = [
    ("a folder that is not there", DataError, ("verify", "nowhere"), "nowhere", {}),
    ("an experiment to verify", DataError, ("verify", "mine.yaml"), "mine.yaml", {}),
    ("the output folder to verify", DataError, ("verify", "out"), "out", {"out/x": ""}),
    ("a manifest that is cut", IntegrityError, ("verify", "d"), "d/manifest.json",
     {"d/manifest.json": "{"}),
    ("a manifest that is a list", IntegrityError, ("verify", "d"), "d/manifest.json",
     {"d/manifest.json": "[]"}),
    ("a manifest without keys", IntegrityError, ("verify", "d"), "d/manifest.json",
     {"d/manifest.json": "{}"}),
    ("a manifest that is a folder", DataError, ("verify", "d"), "d/manifest.json",
     {"d/manifest.json/x": ""}),
    ("a purge without an experiment", ConfigError, ("purge", "no.yaml"), "no.yaml", {}),
    ("a purge before a request", DataError, ("purge", "mine.yaml"), "out/mine", {}),
    ("the same with --yes", DataError, ("purge", "mine.yaml", "--yes"), "out/mine", {}),
    ("a purge with a text as ledger", IntegrityError, ("purge", "mine.yaml"), LEDGER,
     {LEDGER: "x"}),
    ("a purge with an empty ledger", IntegrityError, ("purge", "mine.yaml"), LEDGER, {LEDGER: ""}),
    ("a request with a ledger of one line", IntegrityError, (*DELETE, "--dry-run"), LEDGER,
     {LEDGER: "{}\n"}),
    ("a run that forgets nothing", ConfigError, ("run", "mine.yaml"), "forget", {}),
    ("a score for requests", ConfigError, ("score", "mine.yaml", *sets("forget.size=30")),
     "score.name", {}),
    ("a pool of a proxy", ConfigError, ("prepare", "mine.yaml", *sets("score.name=curvature")),
     "score", {}),
    ("a pool of few models", ConfigError, ("prepare", "mine.yaml", *sets("score.models=4")),
     "score.models", {}),
    ("a pool that sees nearly all", ConfigError,
     ("prepare", "mine.yaml", *sets("score.models=8", "score.fraction=0.99")), "score.fraction",
     {}),
    ("all rows", PlanError, DELETE, "l.txt", {"l.txt": lambda path: path.write_text(ids(0, 1200))}),
    ("weights with code", UnsafeError, (*DELETE, *sets("recipe.weights=code.pt")),
     "recipe.weights", {"code.pt": code}),
    ("a device as weights", DataError, (*DELETE, *sets("recipe.weights=/dev/zero")),
     "recipe.weights", {}),
    ("a pipe as a plan", ConfigError, (*DELETE, *sets("plan=p.yaml")), "p.yaml",
     {"p.yaml": os.mkfifo}),
    ("another network", DataError, (*DELETE, *sets("recipe.model=small_cnn")), "recipe.weights",
     {}),
    ("scores that are not there", DataError, (*DELETE, *sets("score={file: s.parquet}")),
     "s.parquet", {}),
]  # fmt: skip


def given(setting: str | tuple[str, ...]) -> tuple[str, ...]:
    return sets(setting) if isinstance(setting, str) else sets(*setting)


ROWS = [
    *(Row(f"a list: {name}", DataError, place, DELETE, tuple(said), {**GOOD, "l.txt": content})
      for name, content, place, *said in LISTS),
    *(Row(name, error, place, ("delete", "mine.yaml", *flags), (), GOOD)
      for name, error, flags, place in PATHS),
    *(Row(name, ConfigError, place, DELETE + given(setting), tuple(said), GOOD)
      for name, setting, place, *said in SETTINGS),
    *(Row(f"weights: {name}", DataError, place, DELETE, ("recipe.weights", *said),
          {**GOOD, "w.safetensors": content}) for name, content, place, *said in WEIGHTS),
    *(Row(name, error, place, line, (), {**GOOD, **files})
      for name, error, line, place, files in OTHERS),
]  # fmt: skip


@table(*ROWS)
def test_a_wrong_request_is_refused_with_its_list_file_or_key(refuse, row):
    refuse(row)


def test_no_variable_of_pytorch_lets_code_run(refuse, monkeypatch):
    """PyTorch reads this variable where a call does not say which files it takes."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    refuse(next(row for row in ROWS if row.name == "weights with code"))
