"""The documents against the package: code, tables, commands, targets, links, keys and layers."""

import ast
import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

import rum_ray
from rum_ray import config, errors
from rum_ray.cli.app import app
from rum_ray.data import DATASETS
from rum_ray.evaluation import ATTACKS
from rum_ray.models import MODELS
from rum_ray.refinement import REFINERS
from rum_ray.scores import PROXIES
from rum_ray.unlearning import UNLEARNERS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (DOCS / "architecture.md").read_text("utf-8")
COMMAND_LINE = (DOCS / "command_line.md").read_text("utf-8")
FOLDERS = ("", "docs/**/", "experiments/", "deploy/", "benchmarks/", ".github/**/")
DOCUMENTS = [path for folder in FOLDERS for path in sorted(ROOT.glob(f"{folder}*.md"))]
SCRIPTS = sorted(DOCS.glob("make_*.py"))
GENERATED = {path.stem.removeprefix("make_") for path in SCRIPTS}
each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
)
EXPERIMENT = """
name: any
data: {name: digits}
recipe: {model: mlp}
forget: {size: 60}
"""


def section(text: str, title: str) -> str:
    """Return the text under a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ (?:\d+\. )?{re.escape(title)}$(.*?)(?=^#+ |\Z)", text, re.M | re.S)
    assert found, f"there is no heading '{title}'"
    return found[1]


def blocks(text: str, language: str = "") -> list[str]:
    """Return the fenced blocks of a language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [code for of, code in fenced if of == language]


def code(text: str) -> str:
    """Return the text in fenced blocks and in backticks."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return "\n".join([*blocks(text), *re.findall(r"`([^`\n]+)`", prose)])


def slug(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def rows(text: str) -> list[str]:
    """Return the first cells of the tables in a text, without backticks."""
    return re.findall(r"^\| `?([^`|]+?)`? \|", text, re.M)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("Unlearners", UNLEARNERS),
        ("Proxies", PROXIES),
        ("Data sets", DATASETS),
        ("Refiners", REFINERS),
        ("Attacks", ATTACKS),
        ("Models", MODELS),
    ],
)
def test_the_names_in_the_readme_are_those_of_the_package(kind, table):
    (row,) = re.findall(rf"^\| {kind} \| (.*) \|$", README, re.M)
    assert re.findall(r"`([^`]+)`", row) == list(table)


def test_the_result_in_the_readme_is_its_source():
    source = ROOT / "experiments" / "results" / "digits.json"
    found = {
        (row["method"], row["source"]): row["metrics"]
        for row in json.loads(source.read_text("utf-8"))["rows"]
    }
    rows = re.findall(r"\| \**(\d\.\d+) ± (\d\.\d+)\** \| (\d+) % \|$", README, re.M)
    picks = (
        *(("retrained_again", None), ("rum", "oracle"), ("best_single", "search")),
        *(("rum", "search"), ("original", None)),
    )
    assert len(rows) == len(picks)
    for pick, row in zip(picks, rows, strict=True):
        objective, cost = found[pick]["objective"], found[pick]["cost"]["mean"]
        expected = (f"{objective['mean']:.3f}", f"{objective['ci95']:.3f}", f"{100 * cost:.0f}")
        assert row == expected


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert project["version"] == citation["version"] == rum_ray.__version__
    assert project["license"] == citation["license"]


def test_the_commands_are_those_of_the_program():
    listed = re.findall(r"^\| `rum-ray (\w+)", section(COMMAND_LINE, "Commands"), re.M)
    assert sorted(listed) == sorted(typer.main.get_command(app).commands)


def test_the_flags_are_those_of_the_program():
    listed = re.findall(r"^\| `(--[\w-]+)", section(COMMAND_LINE, "Flags"), re.M)
    commands = typer.main.get_command(app).commands.values()
    flags = {flag for command in commands for each in command.params for flag in each.opts}
    assert sorted(listed) == sorted(flag for flag in flags if flag.startswith("--"))


def test_each_flag_is_listed_with_its_commands_and_its_defaults():
    text, commands = section(COMMAND_LINE, "Flags"), typer.main.get_command(app).commands
    (jobs,) = re.findall(r"\*Jobs\* stands for .*?:(.*?)\.", text, re.S)
    groups = {"jobs": re.findall(r"`(\w+)`", jobs), "all": [*commands]}
    for flag, default, names in re.findall(r"^\| `(--\S+?)[ `].*? \| (.*?)\|(.*?)\|", text, re.M):
        listed = [*re.findall(r"`(\w+)`", names)]
        listed += [name for group in groups if group in names for name in groups[group]]
        found = {
            name: each.default
            for name, command in commands.items()
            for each in command.params
            if flag in each.opts
        }
        assert sorted(listed) == sorted(found), flag
        if flag != "--out":
            told = re.findall(r"`([^`]+)`", default.partition(";")[0]) or [None]
            own = dict(re.findall(r"of `(\w+)`, `(\w+)`", default))
            assert {n: d or None for n, d in found.items()} == dict.fromkeys(found, *told) | own


def test_the_exit_codes_are_those_of_the_errors():
    listed = {*map(int, rows(section(COMMAND_LINE, "Exit codes"))[2:])}
    kinds = [
        k for k in vars(errors).values() if isinstance(k, type) and k.__module__ == errors.__name__
    ]
    assert {kind.exit_code for kind in kinds} | {0, 9, 75} == listed


@each_document
def test_every_command_and_flag_in_a_document_exists(path):
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
def test_every_path_in_backticks_exists(path):
    roots = "rum_ray|docs|tests|examples|experiments|benchmarks|deploy"
    for name in re.findall(rf"`((?:{roots})/[\w./-]+)`", path.read_text("utf-8")):
        assert "NAME" in name or (ROOT / name).exists(), f"{path.name}: {name}"


@each_document
def test_every_included_file_exists(path):
    for name in re.findall(r"^--8<--\n(.*)\n--8<--$", path.read_text("utf-8"), re.M):
        assert (ROOT / name).exists(), f"{path.name}: {name}"


@each_document
def test_text_is_wrapped(path):
    prose = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("|")]
    if path.parent != DOCS or path.stem not in GENERATED:
        assert not [line for line in prose if len(line) > 100]


@each_document
def test_experiment_files_in_a_document_are_valid(path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    for text in blocks(path.read_text("utf-8"), "yaml"):
        keys = yaml.safe_load(text)
        if path.name == "configuration.md":
            keys = {"search": keys}
        base = yaml.safe_load(EXPERIMENT) if "name" not in keys else {}
        # A file of requests to forget needs no forget set.
        base |= config.UNCHOSEN if "deletion" in keys else {}
        config.parse(base | keys)


@each_document
def test_python_in_a_document_is_python(path):
    for text in blocks(path.read_text("utf-8"), "python"):
        if not text.startswith("--8<--"):
            compile(text, path.name, "exec")


@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/*.yaml")), ids=lambda p: p.name)
def test_experiments_are_valid_and_listed(path):
    config.load(path)
    assert f"]({path.name})" in (ROOT / "experiments" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.py")), ids=lambda p: p.name)
def test_every_example_is_on_a_page_of_the_site(path):
    pages = [page.read_text("utf-8") for page in DOCS.glob("tutorials/*.md")]
    assert any(f"--8<--\nexamples/{path.name}\n--8<--\n" in page for page in pages)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_generated_pages_are_up_to_date(script):
    for name, text in runpy.run_path(str(script))["render"]().items():
        assert (DOCS / name).read_text("utf-8") == text, "run: .venv/bin/python docs/make.py"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert {*re.findall(r": (\S+\.md)$", navigation, re.M)} == pages


@pytest.mark.parametrize("name", UNLEARNERS)
def test_every_unlearner_has_a_formula_and_a_linked_reference(name):
    paragraphs = (UNLEARNERS[name].__doc__ or "").split("\n\n")
    assert any(p.strip().startswith("Formula: ") for p in paragraphs)
    (reference,) = [p for p in paragraphs if p.strip().startswith("Reference: ")]
    assert re.search(r"https://\S+", reference)
    assert re.search(r"\b20\d\d\b", reference)


@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/results/*digits*.json")))
def test_every_metric_of_a_report_is_explained(path):
    text = (DOCS / "report.md").read_text("utf-8")
    known = [re.sub(r"<\w+>", ".+", name) for name in re.findall(r"`([\w<>.]+)`", text)]
    known += [f"{name}(_retain)?(_tpr_at_.+)?(_gap)?" for name in known if name in ATTACKS]
    report = json.loads(path.read_text("utf-8"))
    names = {name for row in report["rows"] for name in row["metrics"]}
    assert not [name for name in names if not any(re.fullmatch(k, name) for k in known)]


def test_the_folders_in_the_architecture_are_those_of_the_package():
    package = ROOT / "rum_ray"
    folders = {path.parent.relative_to(package).parts[0] for path in package.glob("*/**/*.py")}
    listed = re.findall(r"^\| `(\w+)/` \|", section(ARCHITECTURE, "The tree"), re.M)
    assert sorted(listed) == sorted(folders)


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
