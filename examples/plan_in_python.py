"""Refine a forget set, give each subset its unlearner, unlearn, and compare with retraining.

The whole of RUM in one process, without Ray: score, refine, plan, unlearn, evaluate.
"""

import rum_ray as rr

data = rr.load("digits")
recipe = rr.Recipe(model="mlp", epochs=60, batch_size=64)
runtime = rr.LocalRuntime(rr.Seed(0))

# Both trainings get the same part of the runtime, "run", and so start from the same weights.
original = recipe.fit(data.train, runtime / "run")
scores = rr.PROXIES["confidence"]()(data, recipe, runtime / "proxy")

forget = rr.forget_set(scores, size=120, pick="spread")
partition = rr.refine(forget, scores, into=("low", "medium", "high"))
plan = rr.Plan.assign(
    partition,
    {
        "low": rr.Nothing(),
        "medium": rr.FineTune(lr=0.1, epochs=10),
        "high": rr.SalUn(lr=0.1, epochs=5, keep=0.5),
    },
)

unlearned = rr.unlearn(original, plan, data.train, runtime / "plan")
retrained = recipe.fit(data.train.without(forget), runtime / "run")
reference = rr.evaluate(retrained, data, plan)
for name, model in {"original": original, "unlearned": unlearned}.items():
    metrics = rr.evaluate(model, data, plan).against(reference)
    print(f"{name:9} ToW {metrics['tow']:.2f}, AUC gap {metrics['auc_gap']:.3f}")
