"""The files of a published request: model, evidence, and the manifest over all of them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rum_ray.deletion.evidence import plan_steps
from rum_ray.deletion.ledger import Entry
from rum_ray.deletion.models import model_files, run_seed, state_digest
from rum_ray.deletion.opened import Opened, Unlearned
from rum_ray.deletion.publish import MANIFEST, sha256
from rum_ray.experiment import Experiment, to_plain
from rum_ray.jobs.context import hardware
from rum_ray.report.evidence import page
from rum_ray.results.environment import machine
from rum_ray.results.schema.evidence import Evidence
from rum_ray.results.schema.manifest import Manifest

EVIDENCE, PAGE = "evidence.json", "evidence.html"


def files_of(unlearned: Unlearned, evidence: Evidence) -> tuple[Entry, dict[str, bytes]]:
    """Return the ledger's entry of a request, and the contents of its files by name."""
    opened, model = unlearned.opened, unlearned.job.load_model(unlearned.opened.context)
    hidden = opened.request.listed.names
    files = dict(model_files(opened.experiment, opened.out, opened.ledger, model, hidden))
    files[EVIDENCE] = format_json(evidence.to_json())
    files[PAGE] = page(evidence).encode()
    made = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = _manifest(unlearned, evidence, files, state_digest(model), made)
    files[MANIFEST] = format_json(manifest.to_json())
    test = evidence.accuracies[0]
    entry = Entry(
        request=manifest.request,
        time=made,
        manifest=sha256(files[MANIFEST]),
        before=manifest.before,
        model=manifest.model,
        ids=opened.request.ids,
        cost=evidence.bill.total,
        test_accuracy_before=test.before.value or 0.0,
        test_accuracy=test.after.value or 0.0,
    )
    return entry, files


def _manifest(
    unlearned: Unlearned, evidence: Evidence, files: Mapping[str, bytes], model: str, made: str
) -> Manifest:
    """Return the manifest of a request."""
    opened = unlearned.opened
    context, listed = opened.context, opened.request.listed
    return Manifest(
        request=evidence.request,
        time=made,
        experiment=plain_experiment(opened.experiment),
        listed="" if opened.public else opened.ledger.hashed(listed.content.hex()),
        ids=() if opened.public else opened.request.ids,
        data={
            "train": context.train_fingerprint["train"],
            "test": context.eval_fingerprint("test"),
        },
        before=opened.start.digest,
        model=model,
        plan=plan_steps(unlearned.plan),
        seed=run_seed(opened.experiment).root,
        versions=versions(opened),
        files={name: sha256(content) for name, content in sorted(files.items())},
        artifacts=unlearned.artifacts,
        chain=opened.ledger.chain,
        public=opened.public,
    )


def versions(opened: Opened) -> dict[str, str]:
    """Return the versions of the packages that compute, and the kind of device."""
    return {**machine(), **hardware(opened.context.device)}


def plain_experiment(experiment: Experiment) -> dict[str, Any]:
    """Return the experiment as plain values, without its forget set."""
    tree = to_plain(experiment)
    return {key: value for key, value in tree.items() if key != "forget"}


def format_json(tree: Mapping[str, Any]) -> bytes:
    """Return the content of a JSON file."""
    return (json.dumps(tree, indent=2, allow_nan=False) + "\n").encode()
