"""Write every generated page of docs/: `python docs/make.py`.

Each `make_*.py` beside this file has `render()`, which maps names of files in docs/ to their text.
The pages come from docstrings, fields and tables of the package; tests/test_docs.py compares them.
"""

import runpy
from pathlib import Path

DOCS = Path(__file__).parent


def render() -> dict[str, str]:
    """Return every generated file of docs/, by name."""
    files: dict[str, str] = {}
    for script in sorted(DOCS.glob("make_*.py")):
        files |= runpy.run_path(str(script))["render"]()
    return files


if __name__ == "__main__":
    for name, text in render().items():
        (DOCS / name).write_text(text, "utf-8")
