"""100,000 models on 1,000 workers that are preempted: the real queue in simulated time.

The first scenario is a spot cluster of 125 machines with eight workers each, one machine lost per
minute. The second has one dead process in 90 s. The baseline is one group of workers that restarts
as a whole, as one Ray Train run with collective communication does; it is given 60 s per restart.
"""

import dataclasses
import json
from pathlib import Path

import matplotlib.pyplot as plt
from _harness import Row, save
from _simulation import Scenario, Simulation

SPOT = Scenario(jobs=100_000, workers=1_000, per_machine=8, loss_every=60.0)
DEATHS = Scenario(jobs=20_000, workers=1_000, per_machine=8, death_every=90.0)
GROUP = dataclasses.replace(DEATHS, jobs=4_000, restart=60.0, together=True)
BARE_GROUP = dataclasses.replace(GROUP, checkpoint=0.0)
HEAVY = dataclasses.replace(SPOT, jobs=20_000, loss_every=10.0)


SWEEP = (600.0, 300.0, 180.0, 120.0, 90.0, 60.0, 30.0)
PICTURE = Path(__file__).parents[1] / "docs" / "scale.svg"


def sweep() -> dict[str, list[float]]:
    """Return the effective time, in percent, by seconds between two deaths, with a picture."""
    found = {}
    for name, scenario, models in (
        ("shards", DEATHS, 10_000),
        ("one group, with checkpoints", GROUP, 2_000),
    ):
        found[name] = [
            100
            * Simulation(dataclasses.replace(scenario, jobs=models, death_every=every), limit=3e4)
            .run()
            .body
            for every in SWEEP
        ]
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for name, values in found.items():
        axes.plot(SWEEP, values, marker="o", label=name)
    axes.set(xscale="log", ylim=(0, 103), xticks=SWEEP, xticklabels=[f"{s:g}" for s in SWEEP])
    axes.set(xlabel="seconds between two deaths of workers", ylabel="effective time, %")
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})
    return found


def main() -> None:
    """Run all scenarios, draw the picture and save the outcomes."""
    scenarios = {
        "a machine of 8 lost per minute": SPOT,
        "a machine of 8 lost in 10 s": HEAVY,
        "a process dead in 90 s": DEATHS,
        "the same, one group": GROUP,
        "the same, one group without checkpoints": BARE_GROUP,
    }
    found = {}
    for name, scenario in scenarios.items():
        found[name] = Simulation(scenario, limit=2e4 if scenario.together else 1e6).run()
        print(name, json.dumps(dataclasses.asdict(found[name])), flush=True)
    spot, deaths = found["a machine of 8 lost per minute"], found["a process dead in 90 s"]
    group = found["the same, one group"]
    rows = [
        Row("effective time, a process dead in 90 s", ">= 90 %", "1", 100 * deaths.body),
        Row("effective time, a machine of 8 lost per minute", "-", "1", 100 * spot.body),
        Row("effective time against one group", ">= 1 x", "one group", deaths.body / group.body),
        Row("requests of 1,000 idle workers", "<= 500 1/s", "-", spot.idle_asks_per_second),
        Row("the queue's own code, of one core", "<= 10 %", "-", 100 * spot.queue_share),
    ]
    curves = {"seconds between deaths": [*SWEEP], **sweep()}
    outcomes = {name: dataclasses.asdict(outcome) for name, outcome in found.items()}
    given = {name: dataclasses.asdict(scenario) for name, scenario in scenarios.items()}
    save("scale", rows, {}, "jobs", outcomes=outcomes, scenarios=given, curves=curves)


if __name__ == "__main__":
    main()
