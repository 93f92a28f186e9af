"""Copies of sources of images: a test source may not be the training source."""

import shutil
from pathlib import Path


def twin(path: str | Path) -> str:
    """Copy a file or a folder to a place beside it, and return the place."""
    copy = Path(path).with_name(f"{Path(path).name}-twin")
    if Path(path).is_dir():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(path, copy)
    else:
        shutil.copy(path, copy)
    return str(copy)
