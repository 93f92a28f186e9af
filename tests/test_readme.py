"""The documents against the package: code, tables, verbs, targets, links, keys and the tree."""

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from rum_ray import config, errors
from rum_ray.cli.app import app
from rum_ray.data import DATASETS
from rum_ray.evaluation import ATTACKS
from rum_ray.models import MODELS
from rum_ray.refinement import REFINERS
from rum_ray.scores import PROXIES
from rum_ray.unlearning import UNLEARNERS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FOLDERS = ("", "docs/", "experiments/", "deploy/", "benchmarks/")
DOCUMENTS = [path for folder in FOLDERS for path in sorted(ROOT.glob(f"{folder}*.md"))]
each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
)


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ (?:\d+\. )?{re.escape(title)}$(.*?)(?=^#+ |\Z)", text, re.M | re.S)
    assert found, f"there is no heading '{title}'"
    return found[1]


def blocks(text: str, language: str = "") -> list[str]:
    """The fenced blocks of a language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [code for of, code in fenced if of == language]


def code(text: str) -> str:
    """What is in fenced blocks and in backticks."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return "\n".join([*blocks(text), *re.findall(r"`([^`\n]+)`", prose)])


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def tree() -> Iterator[str]:
    """The paths in the architecture's tree; a folder ends in a slash."""
    folders: list[str] = []
    for line in section(ARCHITECTURE, "The tree").splitlines():
        if found := re.match(r"((?:\|   |    )*)[|`]-- (\S+)", line):
            del folders[len(found[1]) // 4 :]
            yield "".join([*folders, found[2]])
            folders.append(found[2])


def test_the_readmes_example_runs_without_ray():
    lines = blocks(README, "python")[0] + "\nimport sys\nassert 'ray' not in sys.modules\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", lines], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    original, unlearned = (float(t) for t in re.findall(r"ToW (\d\.\d+)", done.stdout))
    assert original < 0.7 < 0.8 < unlearned, f"not what the README says: {done.stdout}"


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("Unlearners", UNLEARNERS),
        ("Proxies", PROXIES),
        ("Data sets", DATASETS),
        ("Refiners", REFINERS),
        ("Attacks", ATTACKS),
    ],
)
def test_the_readmes_tables_are_the_packages(title, table):
    listed = re.findall(r"^\| `([^`]+)` \|", section(README, title), re.M)
    assert listed == list(table)


def test_the_readme_names_every_model():
    assert not [name for name in MODELS if f"`{name}`" not in README]


def test_the_readmes_verbs_are_the_programs():
    listed = re.findall(r"^\| `rum-ray (\w+)", section(README, "Commands"), re.M)
    assert sorted(listed) == sorted(typer.main.get_command(app).commands)


@each_document
def test_every_verb_and_flag_in_a_document_exists(path):
    verbs = typer.main.get_command(app).commands
    for verb, rest in re.findall(r"rum-ray ([a-z]\w*)([^\n#]*)", code(path.read_text("utf-8"))):
        assert verb in verbs, f"{path.name}: rum-ray {verb}"
        known = {flag for parameter in verbs[verb].params for flag in parameter.opts}
        wrong = set(re.findall(r"(?<!\S)--[\w-]+", rest)) - known
        assert not wrong, f"{path.name}: rum-ray {verb} has no {wrong}"


@each_document
def test_every_make_target_in_a_document_exists(path):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    named = re.findall(r"\bmake ([a-z]+)", code(path.read_text("utf-8")))
    assert set(named) <= set(targets)


@each_document
def test_every_relative_link_resolves(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), f"{path.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.M)
            assert anchor in map(slug, headings), f"{path.name}: {link}"


@each_document
def test_text_is_wrapped(path):
    prose = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("|")]
    if path.name != "configuration.md":
        assert not [line for line in prose if len(line) > 100]


def test_the_readmes_experiment_files_are_valid():
    files = blocks(README, "yaml")
    assert files
    for text in files:
        config.parse(yaml.safe_load(text))


@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/*.yaml")), ids=lambda p: p.name)
def test_experiments_are_valid_and_listed(path):
    config.load(path)
    assert f"]({path.name})" in (ROOT / "experiments" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["algorithms", "configuration"])
def test_what_scripts_make_is_up_to_date(name):
    script = ROOT / "docs" / f"make_{name}.py"
    written = script.with_name(f"{name}.md").read_text("utf-8")
    fresh = runpy.run_path(str(script))["render"]()
    assert written == fresh, f"run: .venv/bin/python docs/make_{name}.py"


@pytest.mark.parametrize("name", UNLEARNERS)
def test_every_unlearner_has_a_formula_and_a_linked_reference(name):
    paragraphs = (UNLEARNERS[name].__doc__ or "").split("\n\n")
    assert any(p.strip().startswith("Formula: ") for p in paragraphs)
    (reference,) = [p for p in paragraphs if p.strip().startswith("Reference: ")]
    assert re.search(r"https://\S+", reference)
    assert re.search(r"\b20\d\d\b", reference)


def test_the_architectures_tree_is_the_packages():
    listed = {path for path in tree() if not path.endswith("/")}
    folders = {path for path in tree() if path.endswith("/")}
    modules = {p.relative_to(ROOT / "rum_ray") for p in (ROOT / "rum_ray").rglob("*.py")}
    inside = {m for m in modules if m.name == "__init__.py" and len(m.parts) > 1}
    assert listed == {m.as_posix() for m in modules - inside}
    assert folders == {f"{m.parent.as_posix()}/" for m in inside}


def test_the_architectures_layers_are_those_that_are_checked():
    source = ast.parse((ROOT / "tests" / "test_architecture.py").read_text("utf-8"))
    (layers,) = (
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    )
    (drawn,) = blocks(section(ARCHITECTURE, "Layers"))
    assert drawn.splitlines() == [f"{n:2}  {line}" for n, line in enumerate(layers)]


def test_the_architectures_errors_are_the_packages():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", ARCHITECTURE, re.M)
    kinds = [
        k for k in vars(errors).values() if isinstance(k, type) and k.__module__ == errors.__name__
    ]
    assert dict(rows) == {kind.__name__: str(kind.exit_code) for kind in kinds}
