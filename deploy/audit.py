"""Look for known vulnerabilities of the locked packages: run `python deploy/audit.py`.

It asks the public database through `pip-audit` (`pip install pip-audit`), prints a line per
vulnerability, and always ends with exit code 0. Packages that the database does not know are
counted, because a run that knows none proves nothing.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
SECONDS = 300.0
COMMAND = ("pip-audit", "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner=off")


def locked(folder: Path = DEPLOY) -> list[str]:
    """Return "name==version" of each locked package, without the label of a build, sorted."""
    lines = {
        line.split(" ")[0].partition("+")[0]
        for file in folder.glob("requirements*.txt")
        for line in file.read_text("utf-8").splitlines()
        if " --hash=" in line
    }
    return sorted(lines)


def audit(packages: list[str]) -> list[str]:
    """Return the lines to print.

    Args:
        packages: "name==version" of each.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(packages))
        file.flush()
        command = [*COMMAND, "--requirement", file.name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
            found = json.loads(done.stdout)["dependencies"]
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
            return ["audit: no answer; pip-audit is not installed, or its database is out of reach"]
    lines = [
        f"warning: {each['name']} {each['version']}: {known['id']}, fixed in "
        f"{', '.join(known['fix_versions']) or 'no version'}"
        for each in found
        for known in each.get("vulns", ())
    ]
    skipped = sum("skip_reason" in each for each in found)
    return [*lines, f"audit: {len(lines)} known in {len(found)} packages; {skipped} not looked up"]


if __name__ == "__main__":
    print("\n".join(audit(locked())), file=sys.stderr)
