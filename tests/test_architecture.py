"""Layers, owners of third parties, and sizes: docs/architecture.md, sections 2 and 3."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A module may import from its own folder and from the lines above it, never from below or beside.
LAYERS = (
    "errors digest seeding __version__",
    "files plugins",
    "data models",
    "training",
    "partition scores unlearning",
    "rum",
    "refinement evaluation",
    "search",
    "experiment store testing",
    "config resume",
    "jobs paper",
    "study",
    "results",
    "cluster",
    "report",
    "deletion",
    "api",
    "cli",
    "__main__",
)
LAYER = {part: number for number, line in enumerate(LAYERS) for part in line.split()}
# Who may import what comes from outside: folders or modules of rum_ray.
OWNERS = {
    "PIL": "data",
    "boto3": "store",
    "botocore": "store",
    "grpc": "cluster",
    "jinja2": "report",
    "matplotlib": "report",
    "mlflow": "report",
    "filelock": "files",
    "optuna": "jobs",
    "pandas": "api cluster report results",
    "pyarrow": "data scores/files store",
    "pydantic": "config results",
    "pytest": "testing",
    "ray": "cluster",
    "rich": "cli",
    "safetensors": "jobs models store",
    "scipy": "evaluation",
    "sklearn": "evaluation",
    "threadpoolctl": "evaluation",
    "torchvision": "models",
    "typer": "cli",
    "wandb": "report",
    "yaml": "config",
}
EVERYWHERE = {"numpy", "torch", "typing_extensions"} | sys.stdlib_module_names
MODULE_LINES, FUNCTION_LINES = 300, 50


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module, as its path from the repository's root and its syntax tree."""
    for path in sorted((ROOT / "rum_ray").rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path, tree: ast.Module) -> Iterator[tuple[int, list[str]]]:
    """Line and dotted name, split, of every import: in functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(path.parts[: -node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            yield from ((node.lineno, [*base, alias.name]) for alias in node.names)


def test_every_import_obeys_the_layers() -> None:
    wrong = []
    for path, tree in modules():
        part = path.with_suffix("").parts[1]
        if part == "__init__":  # the public names, lazily: test_importing_the_package_is_light
            continue
        if part not in LAYER:
            wrong.append(f"{path}:1: '{part}' is not in the table LAYERS: give it a layer")
            continue
        for line, name in imports(path, tree):
            used = (*name, "rum_ray itself")[1]
            if name[0] != "rum_ray" or used == part or LAYER.get(used, 99) < LAYER[part]:
                continue
            where = f"layer {LAYER[used]}" if used in LAYER else "no layer"
            rule = f"{part} (layer {LAYER[part]}) may import only itself and lower numbers"
            wrong.append(f"{path}:{line}: imports {used} ({where}): {rule}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_third_party_is_imported_by_its_owners_only() -> None:
    wrong = []
    for path, tree in modules():
        inside = "/".join(path.with_suffix("").parts[1:]) + "/"
        for line, (package, *_) in imports(path, tree):
            if package in EVERYWHERE or package == "rum_ray":
                continue
            owners = OWNERS.get(package, "").split()
            if not any(inside.startswith(f"{owner}/") for owner in owners):
                rule = f"only {', '.join(owners)} may" if owners else "it is not in OWNERS"
                wrong.append(f"{path}:{line}: imports {package}: {rule}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_modules_and_functions_stay_short() -> None:
    wrong = []
    for path, tree in modules():
        total = len((ROOT / path).read_text("utf-8").splitlines())
        if total > MODULE_LINES:
            wrong.append(f"{path}:1: {total} lines; a module has at most {MODULE_LINES}")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    rule = f"a function has at most {FUNCTION_LINES}, docstring included"
                    wrong.append(f"{path}:{node.lineno}: {node.name} has {length} lines; {rule}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_importing_the_package_is_light() -> None:
    code = "import sys, rum_ray; print(*{'numpy', 'ray', 'torch'} & sys.modules.keys())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heavy = done.stdout.strip()
    assert not heavy, f"rum_ray/__init__.py:1: importing it loads {heavy}; it must be lazy"
