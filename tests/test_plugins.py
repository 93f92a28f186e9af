"""Names of plug-ins: a file can name only marked code of modules that may be imported."""

import sys

import pytest

from rum_ray import config
from rum_ray.data import DataBundle, load
from rum_ray.errors import ConfigError, DataError
from rum_ray.evaluation import find_attack
from rum_ray.experiment import ScoreConfig
from rum_ray.models import build, find_model
from rum_ray.plugins import find
from rum_ray.refinement import find_refiner
from rum_ray.scores import find_proxy
from rum_ray.unlearning import find_unlearner

TABLE = {"salun": 1, "scrub": 2}
MINE = """
import sys
from dataclasses import dataclass
from subprocess import getoutput

from torch import nn

from rum_ray.data import DataBundle, digits
from rum_ray.errors import DataError


def data(**options) -> DataBundle:
    return digits()

def nothing() -> DataBundle:
    pass

def raising() -> DataBundle:
    raise KeyError("no such host")

def leaving() -> DataBundle:
    sys.exit(0)

def refusing() -> DataBundle:
    raise DataError("not today")

def net(shape, num_classes) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

def no_net(shape, num_classes) -> nn.Module:
    pass

def leaving_net(shape, num_classes) -> nn.Module:
    sys.exit("bye")

def unknown() -> "Nowhere":
    pass

@dataclass(frozen=True)
class Proxy:
    def __call__(self, bundle, recipe, runtime):
        pass

class Bare:
    def __call__(self, bundle, recipe, runtime):
        pass

@dataclass
class Silent:
    pass
"""
FINDERS = {
    "data set": lambda name: config.parse({**FILE, "data": name}),
    "model": find_model,
    "unlearner": find_unlearner,
    "refiner": find_refiner,
    "proxy": find_proxy,
    "score": ScoreConfig,
    "attack": find_attack,
}
FILE = {"name": "x", "recipe": {"model": "mlp", "epochs": 1}, "forget": {"size": 30}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules of the user; what is imported from it is forgotten afterwards."""
    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_of_test.py").write_text(MINE)
    yield tmp_path
    for name in {*sys.modules} - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def installed(folder, name: str, *requirements: str) -> None:
    """Write a package with metadata as of an installed one; its import leaves a file."""
    (folder / name).mkdir()
    mark = f"from pathlib import Path\nPath({str(folder)!r}, 'imported').touch()\n"
    (folder / name / "__init__.py").write_text(mark + MINE)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0"]
    lines += [f"Requires-Dist: {each}" for each in requirements]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n{name}-1.0.dist-info/METADATA,,\n")


def test_a_name_in_the_table():
    assert find("scrub", TABLE, "unlearner", lambda thing: "nothing") == 2


@pytest.mark.parametrize("kind", FINDERS)
@pytest.mark.parametrize(
    "name", ["subprocess:getoutput", "os.path:join", "builtins:exec", "__main__:x", "_thread:exit"]
)
def test_a_module_of_python_itself_is_refused(kind, name):
    with pytest.raises(ConfigError, match=f"{kind} '{name}' .*Python itself"):
        FINDERS[kind](name)


@pytest.mark.parametrize("kind", FINDERS)
def test_an_installed_package_that_does_not_require_rum_ray_is_never_imported(folder, kind):
    installed(folder, "foreign_of_test", "numpy", "rum-rayish>=1")
    with pytest.raises(ConfigError, match=f"{kind} 'foreign_of_test:data' .*rum-ray"):
        FINDERS[kind]("foreign_of_test:data")
    assert not (folder / "imported").exists()
    assert "foreign_of_test" not in sys.modules


@pytest.mark.parametrize("requirement", ["rum-ray", "rum_ray>=0.1", 'Rum-Ray[s3] ; extra == "x"'])
def test_an_installed_package_that_requires_rum_ray_has_plug_ins(folder, requirement):
    name = f"allowed{len(requirement)}_of_test"
    installed(folder, name, requirement)
    assert find_model(f"{name}:net").__name__ == "net"


@pytest.mark.parametrize(
    ("kind", "thing"),
    [
        *[("data set", each) for each in ("getoutput", "net", "unknown", "DataBundle", "Proxy")],
        *[("model", each) for each in ("getoutput", "data", "unknown", "nn", "Silent")],
        *[("proxy", each) for each in ("getoutput", "Bare", "Silent", "data", "sys")],
        *[("score", each) for each in ("getoutput", "Bare")],
        *[("unlearner", each) for each in ("getoutput", "Proxy", "Silent")],
        *[("refiner", each) for each in ("getoutput", "Silent")],
        *[("attack", each) for each in ("getoutput", "Proxy", "data")],
    ],
)
def test_code_without_the_mark_of_its_kind_is_refused(folder, kind, thing):
    with pytest.raises(ConfigError, match=f"{kind} 'mine_of_test:{thing}' must be a"):
        FINDERS[kind](f"mine_of_test:{thing}")


def test_marked_code_is_found(folder):
    bundle = load("mine_of_test:data")
    assert isinstance(bundle, DataBundle)
    assert find_model("mine_of_test:net").__name__ == "net"
    assert find_proxy("mine_of_test:Proxy").__name__ == "Proxy"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("def x(:", "invalid syntax"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit(0)", r"sys\.exit\(0\)"),
        ("import sys; sys.exit('bye')", r"sys\.exit\('bye'\)"),
        ("import no_such_module", "no_such_module"),
        ("assert False", "AssertionError"),
    ],
)
def test_an_import_that_fails_is_an_error_with_its_cause(folder, text, cause):
    (folder / "mistaken.py").write_text(text)
    for kind, finder in FINDERS.items():
        with pytest.raises(ConfigError, match=f"{kind} 'mistaken:x' .*{cause}"):
            finder("mistaken:x")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("nothing", "NoneType"),
        ("raising", "KeyError: 'no such host'"),
        ("leaving", r"sys\.exit\(0\)"),
        ("refusing", "^not today$"),
    ],
)
def test_a_data_set_that_fails_is_an_error_with_its_cause(folder, name, cause):
    with pytest.raises(DataError, match=cause):
        load(f"mine_of_test:{name}")


@pytest.mark.parametrize(
    ("name", "cause"), [("no_net", "NoneType"), ("leaving_net", r"sys\.exit\('bye'\)")]
)
def test_a_model_that_fails_is_an_error_with_its_cause(folder, name, cause):
    with pytest.raises(ConfigError, match=cause):
        build(f"mine_of_test:{name}", (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("salum", r"^unknown unlearner 'salum'.* salun, scrub\..*'salun'\?$"),
        ("", r"^unknown unlearner ''.* salun, scrub\.$"),
        ("nowhere:x", "^unlearner 'nowhere:x' .*No module named 'nowhere'"),
        ("mine_of_test:absent", "^unlearner 'mine_of_test:absent' .*no attribute 'absent'"),
        ("mine_of_test:", "^unlearner 'mine_of_test:' "),
        (":join", "^unlearner ':join' "),
        (".path:join", r"^unlearner '\.path:join' "),
        ("mine_of_test:a.b", r"^unlearner 'mine_of_test:a\.b' "),
        ("mine of test:a", r"^unlearner 'mine of test:a' "),
    ],
)
def test_an_unknown_name_is_an_error_with_the_name(folder, name, message):
    with pytest.raises(ConfigError, match=message):
        find(name, TABLE, "unlearner", lambda thing: None)
