"""Optimizers, warm-up, label smoothing and normalisation of a recipe."""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference.unlearning import check

from rum_ray import config
from rum_ray.data import LabeledData
from rum_ray.data.batches import Batches
from rum_ray.digest import canonical, digest
from rum_ray.errors import ConfigError
from rum_ray.experiment import to_plain
from rum_ray.seeding import Seed
from rum_ray.testing import CrashingRuntime, same_bits
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.fused import fit_together
from rum_ray.training.normalization import Normalization
from rum_ray.unlearning import FineTune, SalUn, UnlearningTask

ADAMW = Recipe("mlp", epochs=3, lr=0.002, batch_size=64, optimizer="adamw", weight_decay=0.05)


def literal(recipe, data, seed, *, warm=False):
    """The loop with PyTorch's own optimizer, written out."""
    model = recipe.build(data, seed / "init").train()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.lr,
        betas=(recipe.momentum, 0.999),
        weight_decay=recipe.weight_decay,
    )
    batches, step = Batches(data, recipe.batch_size, torch.device("cpu")), 0
    steps = math.ceil(len(data) / recipe.batch_size)
    for epoch in range(recipe.epochs):
        for _, x, y in batches.epoch(seed / epoch):
            step += 1
            done = step / (steps * recipe.epochs)
            rate = recipe.lr * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
            if warm:
                decay = max(0.0, epoch / recipe.epochs - recipe.warmup) / (1 - recipe.warmup)
                rate = recipe.lr * (1 + math.cos(math.pi * decay)) / 2
                rate = recipe.lr * done / recipe.warmup if done < recipe.warmup else rate
            optimizer.param_groups[0]["lr"] = rate
            loss = F.cross_entropy(model(x), y, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def test_adamw_is_the_literal_loop(bundle, runtime):
    start = ADAMW.build(bundle.train, runtime.seed / "init")
    ours = ADAMW.fit(bundle.train, runtime)
    check(ours, literal(ADAMW, bundle.train, runtime.seed), start)


def test_warm_up_and_label_smoothing_are_the_literal_loop(bundle, runtime):
    recipe = replace(ADAMW, warmup=0.4, label_smoothing=0.1)
    start = recipe.build(bundle.train, runtime.seed / "init")
    ours = recipe.fit(bundle.train, runtime)
    check(ours, literal(recipe, bundle.train, runtime.seed, warm=True), start)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.05, 0.5, 0.9])
def test_the_rate_rises_to_lr_and_never_exceeds_it(schedule, warmup):
    recipe = Recipe("mlp", epochs=10, lr=0.2, schedule=schedule, warmup=warmup)
    rates = [recipe.learning_rate(epoch, step / 8) for epoch in range(10) for step in range(1, 9)]
    rising = [rate for number, rate in enumerate(rates, 1) if number / 80 < warmup]
    assert np.allclose(np.diff(rising), 0.2 / (80 * warmup))
    assert rising[0] == pytest.approx(0.2 / (80 * warmup))
    assert max(rates) <= 0.2
    assert (np.diff(rates[len(rising) :]) <= 0).all()


def test_a_crash_changes_nothing_with_adamw_and_warm_up(bundle):
    recipe = replace(ADAMW, warmup=0.5)
    expected = recipe.fit(bundle.train, LocalRuntime(Seed(0)))
    for crash in (1, 2):
        runtime = CrashingRuntime(Seed(0), crash=crash)
        with pytest.raises(InterruptedError):
            recipe.fit(bundle.train, runtime)
        assert same_bits(recipe.fit(bundle.train, replace(runtime, crash=None)), expected)


def test_unlearners_step_with_the_optimizer_of_the_original(bundle, runtime):
    train = bundle.train
    original = ADAMW.fit(train, runtime)
    forget, retain = train.take(range(40)), train.take(range(40, 160))
    unlearner = FineTune(epochs=2, lr=0.001, batch_size=40, weight_decay=0.02)
    ours = unlearner(original, UnlearningTask(forget, retain, original, ADAMW), runtime / "ft")
    model = ADAMW.build(train, Seed(0))
    model.load_state_dict(original.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.02)
    batches = Batches(retain, 40, torch.device("cpu"))
    for epoch in range(2):
        for _, x, y in batches.epoch(runtime.seed / "ft" / epoch / "retain"):
            loss = F.cross_entropy(model.train()(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    check(ours, model, original)
    sgd = unlearner(original, UnlearningTask(forget, retain, original), runtime / "ft")
    assert not same_bits(ours, sgd)


def test_salun_freezes_weights_with_adamw_too(bundle, runtime):
    original = ADAMW.fit(bundle.train, runtime)
    task = UnlearningTask(
        bundle.train.take(range(40)), bundle.train.take(range(40, 160)), original, ADAMW
    )
    for mask in ("saliency", "official"):
        model = SalUn(epochs=1, lr=0.001, keep=0.25, mask=mask)(original, task, runtime / mask)
        pairs = zip(model.parameters(), original.parameters(), strict=True)
        changed = sum(int((ours != theirs).sum()) for ours, theirs in pairs)
        total = sum(p.numel() for p in original.parameters())
        assert 0 < changed <= total // 4


def test_fused_training_has_the_same_optimizer_warm_up_and_smoothing(bundle):
    recipe = replace(ADAMW, warmup=0.4, label_smoothing=0.1)
    rows = [np.arange(0, 120), np.arange(40, 160)]
    seeds = [Seed(0) / number for number in range(2)]
    together = fit_together(recipe, bundle.train, rows, seeds, torch.device("cpu"))
    for model, own, seed in zip(together, rows, seeds, strict=True):
        part = bundle.train.take(own)
        start = recipe.build(part, seed / "init")
        alone = recipe.fit(part, LocalRuntime(seed))
        pairs = zip(model.parameters(), alone.parameters(), start.parameters(), strict=True)
        for ours, theirs, first in pairs:
            assert (ours - theirs).norm() < 0.02 * (theirs - first).norm()


def test_values_out_of_range_are_errors():
    for bad in ({"warmup": 1.0}, {"warmup": -0.1}, {"label_smoothing": 1.0}):
        with pytest.raises(ValueError, match="below 1"):
            Recipe("mlp", **bad)
    with pytest.raises(ValueError, match="sgd or adamw"):
        Recipe("mlp", optimizer="adam")
    with pytest.raises(ValueError, match=r"0\.001"):
        Recipe("mlp", optimizer="adamw")
    for mean, std in (((), ()), ((0.5,), (0.5, 0.5)), ((0.5,), (0.0,))):
        with pytest.raises(ValueError, match="std"):
            Normalization(mean, std)


def test_keys_of_recipes_without_the_new_fields_stay():
    names = {field.name for field in dataclasses.fields(Recipe)}
    new = {"optimizer", "warmup", "label_smoothing", "normalize", "init"}
    assert set(canonical(Recipe("mlp"))) == (names - new) | {"type"}
    recipes = [
        Recipe("mlp", lr=0.01),
        Recipe("mlp", lr=0.01, optimizer="adamw"),
        Recipe("mlp", lr=0.01, warmup=0.1),
        Recipe("mlp", lr=0.01, label_smoothing=0.1),
        Recipe("mlp", lr=0.01, normalize="none"),
        Recipe("mlp", lr=0.01, normalize=Normalization((0.5,), (0.5,))),
    ]
    assert len({digest(recipe) for recipe in recipes}) == len(recipes)


def pixels(channels=3):
    x = torch.randint(0, 256, (30, channels, 8, 8), dtype=torch.uint8)
    one = channels * (0.4,), channels * (0.2,)
    return LabeledData(x, torch.arange(30) % 3, num_classes=3, mean=one[0], std=one[1])


@pytest.mark.parametrize(
    ("normalize", "mean", "std"),
    [
        (None, (0.4,) * 3, (0.2,) * 3),
        ("none", (0.0,) * 3, (1.0,) * 3),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (Normalization((0.5,), (0.25,)), (0.5,) * 3, (0.25,) * 3),
    ],
)
@pytest.mark.parametrize("model", ["small_cnn", "torchvision:resnet18"])
def test_normalisation_is_that_of_the_recipe(model, normalize, mean, std):
    data, seed = pixels(), Seed(3)
    ours = Recipe(model, normalize=normalize).build(data, seed).eval()
    bare = Recipe(model, normalize="none").build(data, seed).eval()
    x = data.x.float() / 255
    m, s = (torch.tensor(values)[:, None, None] for values in (mean, std))
    torch.testing.assert_close(ours(x), bare((x - m) / s))
    assert same_bits(ours, bare)


def test_normalisation_of_other_channels_is_an_error():
    with pytest.raises(ConfigError, match=r"^recipe\.normalize: .*3 channels.* 1\."):
        Recipe("small_cnn", normalize="imagenet").build(pixels(1), Seed(0))


def test_an_experiment_file_has_them_all():
    recipe = {"model": "mlp", "lr": 0.001, "optimizer": "adamw", "warmup": 0.05}
    recipe |= {"label_smoothing": 0.1, "normalize": {"mean": [0.5], "std": [0.25]}}
    tree = {"name": "x", "data": "digits", "recipe": recipe, "forget": {"size": 30}}
    experiment = config.parse(tree)
    assert experiment.recipe.normalize == Normalization((0.5,), (0.25,))
    plain = to_plain(experiment)["recipe"]
    assert {key: plain[key] for key in recipe} == recipe
    for name in ("imagenet", "none"):
        given = config.parse({**tree, "recipe": {**recipe, "normalize": name}})
        assert given.recipe.normalize == name
    with pytest.raises(ConfigError, match=r"recipe\.normalize"):
        config.parse({**tree, "recipe": {**recipe, "normalize": "image"}})
    with pytest.raises(ConfigError, match=r"recipe\.optimizer"):
        config.parse({**tree, "recipe": {**recipe, "optimizer": "adam"}})
