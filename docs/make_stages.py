"""Render stages.md: the stages of a study, and the stages that each command runs."""

from rum_ray.study.stages import COMMANDS, STAGES

INTRODUCTION = """\
# Stages

A command runs the stages of its row from left to right, if the experiment asks for them. A stage
runs only the jobs whose results are not in the store. `--dry-run` and `rum-ray estimate` forecast
the same stages. `python docs/make.py` writes this page from `STAGES` and `COMMANDS` in
`rum_ray/study/stages.py`; do not edit it.
"""


def render() -> dict[str, str]:
    """Return the page by its name."""
    stages = ["| stage | content |", "| :-- | :-- |"]
    stages += [f"| `{name}` | {stage.description} |" for name, stage in STAGES.items()]
    commands = ["## By command", "", "| command | stages |", "| :-- | :-- |"]
    for verb, names in COMMANDS.items():
        listed = ", ".join(f"`{name}`" for name in names) or "none"
        commands.append(f"| `rum-ray {verb}` | {listed} |")
    return {"stages.md": "\n".join([INTRODUCTION, *stages, "", *commands]) + "\n"}


if __name__ == "__main__":
    print(render()["stages.md"])
