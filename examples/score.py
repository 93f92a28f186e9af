"""Score how hard each example is to forget: memorization, and a proxy that needs one training.

Ten models learn a random 70 % of the digits each. An example is memorized if models that
learned it predict its label and models that did not learn it do not. A tenth of the training labels
is wrong, and a wrong label can only be memorized.
"""

import numpy as np
import pandas as pd
import torch

import rum_ray as rr

MODELS, FRACTION = 10, 0.7

data = rr.load("digits")  # 1,200 training examples, 120 of them with a wrong label
recipe = rr.Recipe(model="mlp", epochs=40, lr=0.2, batch_size=64)
runtime = rr.LocalRuntime(rr.Seed(0))

total = len(data.train)
included = np.zeros((MODELS, total), dtype=bool)  # [M, N]: model m learned example n
correct = np.zeros((MODELS, total), dtype=bool)  # [M, N]: model m predicts the label of example n
for number in range(MODELS):
    part = runtime / "pool" / number
    rows = (part.seed / "rows").choice(total, round(FRACTION * total))
    model = recipe.fit(data.train.take(rows), part)
    with torch.no_grad():
        predicted = model(data.train.x).argmax(dim=1)
    included[number, rows] = True
    correct[number] = (predicted == data.train.y).numpy()

scores = rr.memorization(included, correct)  # in [-1, 1]; higher is harder to forget
proxy = rr.PROXIES["confidence"]()(data, recipe, runtime / "proxy")

table = pd.DataFrame(
    {"memorization": scores.values, "confidence": proxy.values, "flipped": data.flipped}
)
means = table.groupby("flipped")["memorization"].mean()
spearman = table["memorization"].corr(table["confidence"], method="spearman")
print(f"memorization: {means[True]:.2f} for wrong labels, {means[False]:.2f} for right ones")
print(f"mean standard error of {MODELS} models: {np.nanmean(scores.standard_errors):.2f}")
print(f"Spearman correlation of the proxy with memorization: {spearman:.2f}")
