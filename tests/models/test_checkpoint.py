"""Files of weights: found, aligned, checked, and written back in the structure that came in."""

import argparse
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from safetensors.torch import save as as_bytes
from torch import nn

from rum_ray.errors import DataError, UnsafeError
from rum_ray.models import MODELS, build
from rum_ray.models.checkpoint import PT, SAFETENSORS, Checkpoint, read
from rum_ray.seeding import Seed

SHAPE = (3, 8, 8)


def network(name="small_cnn", classes=3, seed=0) -> nn.Module:
    with Seed(seed).torch():
        return build(name, SHAPE, classes)


def prefixed(state, prefix):
    return OrderedDict((prefix + name, value) for name, value in state.items())


@pytest.fixture
def state():
    return network().state_dict()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


def same(one, two) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


STRUCTURES = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model_state": lambda state: {"model_state": state, "best": 0.5, "name": "x"},
    "model_state_dict": lambda state: {"model_state_dict": state, "args": {"lr": 0.1}},
    "model": lambda state: {"model": state, "model_ema": state},
    "net": lambda state: {"net": state, "acc": 93.1, "epoch": 7},
    "twice": lambda state: {"model": {"state_dict": state}, "step": 1},
    "alone": lambda state: {"weights_of_mine": state, "epoch": 1},
}
PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "model.", "model.module.", "net.")


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_state_dict_is_found_in_the_structures_people_save(structure, state, path, tmp_path):
    saved = STRUCTURES[structure](prefixed(state, "module."))
    torch.save(saved, path)
    found = read(path)
    fitted = found.fit(state, "small_cnn")
    assert same(fitted, dict(state))
    found.write(tmp_path / "out", fitted)
    again = torch.load(tmp_path / "out" / PT, weights_only=True)
    assert again.keys() == saved.keys() - {"model_ema"}
    for key in found.place:
        saved, again = saved[key], again[key]
    assert type(again) is type(saved)
    assert list(again) == list(saved)
    assert same(again, saved)
    assert same(load_file(tmp_path / "out" / SAFETENSORS), dict(state))


def test_prefixes_are_taken_off_told_and_put_back(state, path, tmp_path):
    for prefix in PREFIXES:
        files = [(tmp_path / "a.safetensors", save_file)]
        files += [(path, torch.save)] if prefix == "module._orig_mod." else []
        for file, save in files:
            save({prefix + name: value.clone() for name, value in state.items()}, str(file))
            found = read(file)
            fitted = found.fit(state, "small_cnn")
            assert same(fitted, dict(state))
            notes = "".join(found.notes(state))
            assert (f"'{prefix}'" in notes) == bool(prefix), prefix
            found.write(tmp_path / "out", {name: value + 1 for name, value in fitted.items()})
            again = torch.load(tmp_path / "out" / PT, weights_only=True)
            assert same(again, {prefix + name: value + 1 for name, value in state.items()})


def test_a_wrapper_may_stand_inside_and_on_the_side_of_the_network(state, path):
    inside = {n.replace("features.", "features._orig_mod.", 1): v for n, v in state.items()}
    torch.save(inside, path)
    assert same(read(path).fit(state, "small_cnn"), dict(state))
    torch.save(state, path)
    wrapped = prefixed(state, "model.")
    assert same(read(path).fit(wrapped, "a wrapped network"), dict(wrapped))


def test_wrappers_of_pytorch_are_read_by_what_they_save(path):
    plain = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    averaged = torch.optim.swa_utils.AveragedModel(plain)
    for wrapped in (nn.DataParallel(plain), averaged):
        torch.save({"model": wrapped.state_dict()}, path)
        assert same(read(path).fit(plain.state_dict(), "plain"), dict(plain.state_dict()))


def test_the_written_file_loads_strictly_in_the_script_that_saved_it(path, tmp_path):
    wrapped = nn.DataParallel(network())
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=0.01)
    wrapped(torch.rand(4, *SHAPE)).sum().backward()
    optimizer.step()
    saved = {"epoch": 5, "model_state": wrapped.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(saved, path)
    found, target = read(path), network(seed=9)
    left = found.write(tmp_path, target.state_dict())
    again = torch.load(tmp_path / PT, weights_only=True)
    wrapped.load_state_dict(again["model_state"])
    assert same(wrapped.module.state_dict(), target.state_dict())
    assert again["epoch"] == 5
    # The moments of Adam are functions of the training data, so they are not handed on.
    assert again["optimizer"]["state"] == {}
    optimizer.load_state_dict(again["optimizer"])
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert left == ()


def test_other_tensors_and_hidden_texts_are_left_out(state, path, tmp_path):
    around = {
        "ema": {"a": torch.ones(2)},
        "history": [0.5, 0.25],
        "files": ["cats/1.png", "cats/2.png"],
        "nested": {"worst": "photos/train/cats/2.png", "labels": {"2.png": 3, "9.png": 1}},
        "best": torch.tensor(0.5),
        "both": (1, None, True),
    }
    torch.save({**around, "state_dict": state}, path)
    found = read(path)
    left = found.write(tmp_path, state, hidden=["cats/2.png"])
    again = torch.load(tmp_path / PT, weights_only=True)
    assert again.keys() == {"history", "nested", "best", "both", "state_dict"}
    assert again["nested"] == {"labels": {"9.png": 1}}
    assert (again["best"], again["both"]) == (torch.tensor(0.5), (1, None, True))
    assert len(left) == 4
    assert b"2.png" not in (tmp_path / PT).read_bytes()
    found.write(tmp_path, state)
    assert torch.load(tmp_path / PT, weights_only=True)["files"] == around["files"]


def test_values_of_training_scripts_are_read(state, path, tmp_path):
    args = argparse.Namespace(lr=0.1, data=Path("photos"), names=["a"])
    torch.save({"args": args, "acc": np.float64(0.5), "best": np.int64(3), "net": state}, path)
    found = read(path)
    found.write(tmp_path, state)
    again = torch.load(tmp_path / PT, weights_only=False)
    assert again["args"] == argparse.Namespace(lr=0.1, data="photos", names=["a"])
    assert (again["acc"], again["best"]) == (0.5, 3)


def test_the_format_of_old_versions_and_names_of_files_do_not_matter(state, tmp_path):
    torch.save(state, tmp_path / "old.tar", _use_new_zipfile_serialization=False)
    assert same(read(tmp_path / "old.tar").fit(state, "x"), dict(state))
    save_file(dict(state), tmp_path / "really.pt")
    assert same(read(tmp_path / "really.pt").fit(state, "x"), dict(state))


def test_a_torch_file_that_is_named_as_another_is_told(state, tmp_path):
    torch.save(dict(state), tmp_path / "mine.safetensors")
    with pytest.raises(
        DataError, match=r"mine\.safetensors is a torch file.*to mine\.pt"
    ) as caught:
        read(tmp_path / "mine.safetensors")
    assert "damaged" not in str(caught.value)
    assert same(read((tmp_path / "mine.safetensors").rename(tmp_path / "mine.pt")).state, state)


def test_a_safetensors_file_whose_header_begins_like_a_pickle_is_read(tmp_path):
    state = {"weight": torch.ones(2)}
    for name in ("model.safetensors", "model.pt"):
        for size in range(400, 700):
            content = as_bytes(state, {"note": "x" * size})
            if content[:2] == b"\x80\x02":
                break
        (tmp_path / name).write_bytes(content)
        assert content[:2] == b"\x80\x02"
        assert same(read(tmp_path / name).state, state)


def test_numbered_layers_are_those_of_the_network_in_their_order(path):
    """An `nn.Sequential` of more than ten layers, whose order as texts is another one."""
    whole = [nn.Conv2d(2, 2, 1) if at % 2 else nn.BatchNorm2d(2) for at in range(14)]
    named = nn.Sequential(OrderedDict(features=nn.Sequential(*whole[:13]), head=whole[13]))
    saved = nn.Sequential(*whole).state_dict()
    for given in (saved, {n: saved[n] for n in sorted(saved)}, prefixed(saved, "module.")):
        torch.save(given, path)
        mine = read(path)
        assert same(mine.fit(named.state_dict(), "named"), named.state_dict())
    without = {n: v for n, v in saved.items() if not n.endswith("num_batches_tracked")}
    torch.save(without, path)
    assert len(read(path).fit(named.state_dict(), "named")) == len(without)
    (note,) = read(path).notes(named.state_dict())
    assert "layers have numbers" in note
    for other in (saved | {"14.weight": torch.zeros(2)}, {n: saved[n] for n in [*saved][1:]}):
        torch.save(other, path)
        with pytest.raises(DataError, match="named"):
            read(path).fit(named.state_dict(), "named")


def test_counters_of_batch_normalisation_may_be_absent(state, path, tmp_path):
    few = {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}
    torch.save(few, path)
    found = read(path)
    fitted = found.fit(state, "small_cnn")
    assert same(fitted, few)
    found.write(tmp_path, state)
    assert same(torch.load(tmp_path / PT, weights_only=True), few)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_converted_and_told(kind, state, path):
    torch.save({n: v.to(kind) if v.is_floating_point() else v for n, v in state.items()}, path)
    found = read(path)
    fitted = found.fit(state, "small_cnn")
    assert all(fitted[name].dtype == state[name].dtype for name in state)
    assert any(str(kind).removeprefix("torch.") in note for note in found.notes(state))


@pytest.mark.parametrize(
    "kind", [torch.int8, torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
def test_types_that_are_no_floats_are_refused_by_name(kind, state, path, tmp_path):
    cast = {n: v.to(kind) if v.is_floating_point() else v for n, v in state.items()}
    torch.save(cast, path)
    save_file(cast, tmp_path / "a.safetensors")
    for file in (path, tmp_path / "a.safetensors"):
        with pytest.raises(DataError, match=str(kind).removeprefix("torch.")):
            read(file).fit(state, "small_cnn")


def test_integer_buffers_pass_and_floats_in_their_place_do_not(state, path):
    torch.save({**state, "features.1.num_batches_tracked": torch.tensor(7)}, path)
    assert read(path).fit(state, "x")["features.1.num_batches_tracked"] == 7
    torch.save({**state, "features.1.num_batches_tracked": torch.tensor(0.5)}, path)
    with pytest.raises(DataError, match="integers"):
        read(path).fit(state, "x")


def misfit(saved, expected, path) -> str:
    torch.save(saved, path)
    with pytest.raises(DataError) as error:
        read(path).fit(expected, "model 'mine'")
    assert str(error.value).startswith("recipe.weights: ")
    assert len(str(error.value)) < 700
    return str(error.value)


def test_files_of_other_networks_are_errors_with_the_likely_reason(state, path):
    assert "[3]" in misfit(network(classes=3).state_dict(), network(classes=5).state_dict(), path)
    assert "3 classes" in misfit(state, network(classes=5).state_dict(), path)
    assert "finite" in misfit({**state, "head.bias": torch.full((3,), torch.nan)}, state, path)
    assert "'more'" in misfit({**state, "more": torch.zeros(1)}, state, path)
    headless = {name: v for name, v in state.items() if not name.startswith("head.")}
    assert "no head" in misfit(headless, state, path)
    other = misfit(network("fast_cnn").state_dict(), state, path)
    assert "another network" in other or "variant" in other
    grey = build("small_cnn", (1, 8, 8), 3).state_dict()
    assert "channels" in misfit(grey, state, path)
    pruned = {n.replace("weight", "weight_mask"): v for n, v in state.items()}
    assert "prun" in misfit({**state, **pruned}, state, path)


def test_a_file_of_torchvision_is_recognised(path):
    theirs = build("torchvision:resnet18", (3, 32, 32), 10).state_dict()
    ours = MODELS["resnet18"]((3, 32, 32), 10).state_dict()
    assert "torchvision:resnet18" in misfit(theirs, ours, path)


def test_a_head_for_other_classes_is_left_out_where_that_is_asked(state, path):
    expected = network(classes=5).state_dict()
    torch.save(prefixed(state, "module."), path)
    found = read(path, "recipe.init")
    fitted = found.fit(expected, "x", head=5)
    assert state.keys() - fitted.keys() == {"head.weight", "head.bias"}
    assert "head.weight, head.bias" in "".join(found.notes(expected, head=5))
    assert fitted.keys() == found.fit(state, "x", head=3).keys() - {"head.weight", "head.bias"}
    without = {n: v for n, v in state.items() if not n.startswith("head.")}
    torch.save({**without, "fc.weight": torch.ones(7, 80)}, path)
    assert read(path).fit(expected, "x", head=5).keys() == without.keys()
    torch.save({n: v for n, v in without.items() if not n.startswith("features.0")}, path)
    with pytest.raises(DataError, match=r"features\.0"):
        read(path).fit(expected, "x", head=5)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch evil",))


def test_code_in_a_file_is_not_run(state, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in (Evil(), {"state_dict": state, "args": Evil()}, network()):
        torch.save(value, path)
        with pytest.raises(UnsafeError, match=r"torch\.save\(model\.state_dict\(\)"):
            read(path)
        torch.save(value, path, _use_new_zipfile_serialization=False)
        with pytest.raises(UnsafeError):
            read(path)
    assert not (tmp_path / "evil").exists()


def test_a_module_in_the_working_folder_is_not_imported(state, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "argparse.py").write_text("raise SystemExit('imported')")
    torch.save(state, path)
    assert read(path).state.keys() == state.keys()


def test_a_file_that_swells_is_refused(path):
    """10 MB of zeros, deflated a thousandfold, and again as a storage of 20 GB."""
    torch.save({"w": torch.zeros(1 << 20)}, path)
    swollen = path.with_name("swollen.pth")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(swollen, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data/0"):
                with target.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                    file.write(content)
            else:
                target.writestr(name, content)
    expanded = path.with_name("expanded.pth")
    torch.save({"w": torch.zeros(1).expand(1 << 33)}, expanded)
    with pytest.raises(UnsafeError, match="memory"):
        read(expanded)


def test_damaged_and_other_files_are_errors(state, path, tmp_path):
    torch.save({"state_dict": state}, path)
    content = path.read_bytes()
    for other in (
        b"",
        b"no weights",
        b"PK\x03\x04",
        content[: len(content) // 2],
        b"\x80\x02K\x01.",
    ):
        path.write_bytes(other)
        with pytest.raises(DataError, match=r"^recipe\.weights: "):
            read(path)
    for value in (3, [state], {}, {"epoch": 3}, {"a": {"w": torch.ones(1)}, "b": state}):
        torch.save(value, path)
        with pytest.raises(DataError, match="state_dict"):
            read(path)
    path.write_bytes(pickle.dumps({"w": 1}, protocol=2))
    with pytest.raises(DataError):
        read(path)
    with pytest.raises(DataError, match="nowhere"):
        read(tmp_path / "nowhere.pt")
    os.mkfifo(tmp_path / "fifo.pt")
    for place in (tmp_path / "fifo.pt", tmp_path):
        with pytest.raises(DataError, match="plain file"):
            read(place)


def test_a_torchscript_archive_is_named(path):
    with pytest.warns(DeprecationWarning, match="jit"):
        torch.jit.save(torch.jit.trace(nn.Linear(2, 1), torch.zeros(1, 2)), path)
    with pytest.raises(DataError, match="TorchScript"):
        read(path)


def test_quantised_tensors_are_refused(path):
    with pytest.warns(UserWarning, match="deprecated"):
        weights = torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8)
    torch.save({"w": weights}, path)
    with pytest.raises((DataError, UnsafeError)):
        read(path)


def test_a_model_without_a_file_is_written_as_a_bare_state_dict(state, tmp_path):
    assert Checkpoint("", state).write(tmp_path, state) == ()
    assert same(torch.load(tmp_path / PT, weights_only=True), state)


def test_writing_is_deterministic_and_checks_the_names(state, path, tmp_path):
    torch.save({"net": state, "epoch": 1}, path)
    for folder in ("one", "two"):
        read(path).write(tmp_path / folder, state)
    for name in (PT, SAFETENSORS):
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert one == two
    with pytest.raises(DataError, match=r"head\.bias"):
        read(path).write(tmp_path, {n: v for n, v in state.items() if n != "head.bias"})


def test_a_changed_file_is_read_again(state, path):
    torch.save(state, path)
    assert "more" not in read(path).state
    torch.save({**state, "more": torch.ones(1)}, path)
    assert "more" in read(path).state


def test_no_process_is_left_behind(state, path):
    torch.save(state, path)
    read(path)
    command = ["ps", "--ppid", str(os.getpid()), "-o", "args="]
    running = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "unpickle" not in running
    assert sys.executable
