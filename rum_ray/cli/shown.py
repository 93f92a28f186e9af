"""Terminal output of checks, and of requests to forget."""

from collections.abc import Mapping
from typing import Any

from rum_ray.cli.console import amount, table
from rum_ray.report import measured


def show(answer: Mapping[str, Any]) -> None:
    """Print the answer of doctor, verify, delete, purge or gc."""
    if "checks" in answer:
        rows = [[c["check"], c["state"], c["found"]] for c in answer["checks"]]
        table(answer.get("title", "doctor"), ["check", "state", "found"], rows)
    elif "deletion" in answer:
        _deletion(answer)
    elif "gc" in answer:
        _gc(answer)
    else:
        _purge(answer)


def _deletion(answer: Mapping[str, Any]) -> None:
    """Print the accuracies and attacks of a deletion, what they say, and the paths."""
    evidence = answer["deletion"]
    rows = [
        [measured.set_title(row.name), *map(measured.text, (row.before, row.after))]
        for row in evidence.accuracies
    ]
    table("accuracy", ["rows", "before", "after"], rows)
    rows = [
        [measured.ATTACKS[row.name], *map(measured.text, (row.auc_before, row.auc))]
        for row in evidence.attacks
    ]
    table("AUC of attacks; 0.5 is chance", ["compared with", "before", "after"], rows)
    print(measured.verdict(evidence))
    for reason in evidence.drift.due:
        print(f"retraining is due: {reason}")
    for key in ("published", "evidence"):
        print(f"{key}: {answer[key]}")


def _purge(answer: Mapping[str, Any]) -> None:
    """Print what derives from forgotten rows."""
    if not answer["purge"]:
        print("nothing that is known here derives from forgotten rows")
        return
    rows = [[item["kind"], _short(item["place"]), item["reason"]] for item in answer["purge"]]
    table(
        "removed, except yours" if answer["removed"] else "to remove",
        ["kind", "place", "reason"],
        rows,
    )
    if not answer["removed"]:
        print("to remove all but 'yours': the same command with --yes")


def _gc(answer: Mapping[str, Any]) -> None:
    """Print the leftovers of earlier commands."""
    if not answer["gc"]:
        print("nothing is left over")
        return
    rows = [[i["kind"], i["place"], amount(i["bytes"]), i["reason"]] for i in answer["gc"]]
    columns = ["kind", "place", "size", "reason"]
    table("removed" if answer["removed"] else "to remove", columns, rows)
    if not answer["removed"]:
        print("to remove all: the same command with --yes")


def _short(place: str) -> str:
    """Return the place of an artifact with the first digits of its digest."""
    kind, _, digest = place.partition("/")
    return f"{kind}/{digest[:12]}" if len(digest) == 64 else place
