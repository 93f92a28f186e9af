"""Literal transcriptions of the unlearners' formulas, in double precision, and their cases.

An epoch is one step on the whole of each set, so the order of the examples does not matter.
`CASES` has one row per unlearner. It is the only table of the tests that names each of them.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning.bad_teacher import incompetent as untrained
from rum_ray.unlearning.base import concat_sets
from rum_ray.unlearning.convolutions import layer_weights, redrawn
from rum_ray.unlearning.lotus import gumbel

from . import training
from .literal import Sgd, cross_entropy, gradient, kl, moved
from .literal import check as check
from .literal import distance as distance

RUNTIME = LocalRuntime(Seed(0))
SEED = RUNTIME.seed
ONE_BATCH = {"lr": 0.1, "epochs": 2, "batch_size": 130}


def finetune(u, model, task, alpha=0.0):
    """CE(R) + a_e * sum |theta|, with a_e = alpha * (1 - e / E)."""
    sgd = Sgd(model, **vars(u))
    for e in range(u.epochs):
        weight = alpha * (1 - e / u.epochs)
        loss = cross_entropy(sgd.model, task.retain.x, task.retain.y)
        sgd.step(loss, added=lambda theta, weight=weight: weight * theta.sign())
    return sgd.model


def neggrad(u, model, task):
    """-CE(S)."""
    sgd = Sgd(model, **vars(u))
    for _ in range(u.epochs):
        sgd.step(-cross_entropy(sgd.model, task.forget.x, task.forget.y))
    return sgd.model


def neggrad_plus(u, model, task):
    """alpha * CE(R) - (1 - alpha) * CE(S)."""
    sgd = Sgd(model, **vars(u))
    for _ in range(u.epochs):
        keep = cross_entropy(sgd.model, task.retain.x, task.retain.y)
        lose = cross_entropy(sgd.model, task.forget.x, task.forget.y)
        sgd.step(u.alpha * keep - (1 - u.alpha) * lose)
    return sgd.model


def scrub(u, model, task):
    """A step up KL on S while e < max_epochs; a step down gamma * CE + alpha * KL on R."""
    teacher = copy.deepcopy(model).double()
    sgd = Sgd(model, **vars(u))
    for e in range(u.epochs):
        if e < u.max_epochs:
            sgd.step(-kl(sgd.model, teacher, task.forget.x, u.temperature))
        keep = kl(sgd.model, teacher, task.retain.x, u.temperature)
        ce = cross_entropy(sgd.model, task.retain.x, task.retain.y)
        sgd.step(u.gamma * ce + u.alpha * keep)
    return sgd.model


def random_label(u, model, task, labels, frozen=None):
    """CE on S with the epoch's labels, and on R, as one set."""
    sgd = Sgd(model, **vars(u))
    x = torch.cat([task.forget.x, task.retain.x])
    for e in range(u.epochs):
        y = torch.cat([labels[e], task.retain.y])
        sgd.step(cross_entropy(sgd.model, x, y), frozen=frozen)
    return sgd.model


def salun_frozen(original, batches, keep):
    """Mask by parameter: weights not among the floor(keep * P) of largest |sum d CE(b)|."""
    original = copy.deepcopy(original).double()
    total = sum(gradient(original, batch) for batch in batches)
    ranked = sorted((-abs(value), i) for i, value in enumerate(total.tolist()))
    return _frozen(original, [i for _, i in ranked[: int(keep * len(ranked))]])


def salun_frozen_as_released(u, original, batches, keep):
    """The same for the smallest |sum d CE(b)|, and a step up CE(b) after each batch."""
    sgd = Sgd(original, **vars(u))
    total = 0.0
    for batch in batches:
        total = total + gradient(sgd.model, batch)
        sgd.step(-cross_entropy(sgd.model, batch.x, batch.y))
    ranked = sorted((abs(value), i) for i, value in enumerate(total.tolist()))
    return _frozen(original, [i for _, i in ranked[: int(keep * len(ranked))]])


def _frozen(model, moving):
    """Mask by parameter: weights that are not among the numbers `moving`."""
    masks, moving, first = [], set(moving), 0
    for theta in model.parameters():
        mask = [first + j not in moving for j in range(theta.numel())]
        masks.append(torch.tensor(mask).view(theta.shape))
        first += theta.numel()
    return masks


def bad_teacher(u, model, task, incompetent, rows):
    """KL(teacher || student) at temperature T: the incompetent one on S, the old model on R'."""
    incompetent, competent = (copy.deepcopy(m).double() for m in (incompetent, model))
    sgd = Sgd(model, **vars(u))
    retain = task.retain.x[rows]
    total = len(task.forget) + len(retain)
    for _ in range(u.epochs):
        loss = len(task.forget) / total * kl(sgd.model, incompetent, task.forget.x, u.temperature)
        loss = loss + len(retain) / total * kl(sgd.model, competent, retain, u.temperature)
        sgd.step(loss / u.temperature**2)
    return sgd.model


def influence_vector(model, task):
    """v = sum over S of g / N - N_S / (N N_R) * sum over R of g, with N = N_S + N_R."""
    forget, retain = len(task.forget), len(task.retain)
    v = sum(gradient(model, task.forget.take([i])) for i in range(forget)) / (forget + retain)
    down = sum(gradient(model, task.retain.take([i])) for i in range(retain))
    return v - forget / ((forget + retain) * retain) * down


def influence(u, model, task, samples=1002, weight=1000):
    """The released recursion with vectors, one example at a time."""
    model = copy.deepcopy(model).double()
    k = influence_vector(model, task)
    o = gradient(model, task.retain.take([0]))
    for i in range(1, min(samples, len(task.retain))):
        g = gradient(model, task.retain.take([i]))
        t = o @ g
        k, o = k - (k @ g) / (weight + t) * o, o - t / (weight + t) * o
    return moved(model, u.alpha * k)


def influence_fisher(u, model, task, samples=1002):
    """(damping * I + mean g g^T)^-1 v by an explicit matrix."""
    model = copy.deepcopy(model).double()
    v = influence_vector(model, task)
    rows = range(min(samples, len(task.retain)))
    g = torch.stack([gradient(model, task.retain.take([i])) for i in rows])
    fisher = u.damping * torch.eye(len(v), dtype=torch.float64) + g.T @ g / len(g)
    return moved(model, u.alpha * torch.linalg.solve(fisher, v))


def ssd(u, model, forget_batches, whole_batches):
    """theta_j *= min(1, (dampening * I_D / I_S)^exponent) where I_S > alpha * I_D."""
    model = copy.deepcopy(model).double()
    on_forget, on_whole = (
        sum(gradient(model, batch) ** 2 for batch in batches) / len(batches)
        for batches in (forget_batches, whole_batches)
    )
    factors = []
    for s, d in zip(on_forget.tolist(), on_whole.tolist(), strict=True):
        shrinks = s > u.alpha * d
        factors.append(min(1.0, (u.dampening * d / s) ** u.exponent) if shrinks else 1.0)
    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    return moved(model, theta * torch.tensor(factors, dtype=torch.float64) - theta)


def msg(u, model, task, rows, fresh):
    """Redraw the weights of least |d CE(R') - d CE(S)| in each layer of `fresh`; then CE(R)."""
    start = copy.deepcopy(model).double()
    sizes = (gradient(start, task.retain.take(rows)) - gradient(start, task.forget)).abs()
    scales, first = [], 0
    for name, theta in start.named_parameters():
        part = sizes[first : first + theta.numel()].tolist()
        first += theta.numel()
        scale = torch.ones(theta.numel(), dtype=torch.float64)
        if name in fresh:
            new = fresh[name].double().flatten()
            ranked = sorted(range(len(part)), key=lambda j, part=part: (part[j], j))
            drawn = ranked[: int(u.redraw * len(part))]
            scale[[j for j in range(len(part)) if j not in set(drawn)]] = u.scale
            theta.data.view(-1)[drawn] = new[drawn]
        scales.append(scale.view(theta.shape))
    sgd = Sgd(start, **vars(u))
    for e in range(u.epochs):
        middle = (e + 0.5) / u.epochs
        sgd.lr = u.lr * 2 * min(middle, 1 - middle)
        sgd.step(cross_entropy(sgd.model, task.retain.x, task.retain.y), scales=scales)
    return sgd.model


def ct(u, model, task):
    """Each kernel transposed; then CE(R) with lr / 2 * (1 + cos(pi e / E))."""
    start = copy.deepcopy(model).double()
    for layer in start.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data = torch.stack(
                [torch.stack([plane.T for plane in filters]) for filters in layer.weight.data]
            )
    sgd = Sgd(start, **vars(u))
    for e in range(u.epochs):
        sgd.lr = u.lr / 2 * (1 + math.cos(math.pi * e / u.epochs))
        sgd.step(cross_entropy(sgd.model, task.retain.x, task.retain.y))
    return sgd.model


def adversarial(u, model, task):
    """A: for each example, the first point that the model misclassifies, and its class."""
    model = copy.deepcopy(model).double()
    whole = torch.cat([task.forget.x, task.retain.x]).double()
    found = [_adversarial(u, model, x.double(), int(y), whole) for x, y in _pairs(task.forget)]
    return torch.stack([x for x, _ in found]), torch.tensor([y for _, y in found])


def _adversarial(u, model, x, y, whole):
    for k in range(u.radii):
        radius, point = u.radius * 2**k, x
        for step in range(u.steps + 1):
            point = point.detach().requires_grad_()
            logits = model(point[None])[0]
            answers = logits.tolist()
            other = max((z, c) for c, z in enumerate(answers) if c != y)[1]
            if answers[other] > answers[y]:
                return point.detach(), other
            if step < u.steps:
                (slope,) = torch.autograd.grad(-logits.log_softmax(0)[y], point)
                away = point.detach() + radius / 10 * slope / slope.norm() - x
                point = x + away * min(1.0, radius / float(away.norm()))
                point = point.clamp(whole.min(), whole.max())
    return point.detach(), other


def _pairs(data):
    return zip(data.x, data.y, strict=True)


def amun(u, model, task):
    """CE on A and R as one set."""
    near, labels = adversarial(u, model, task)
    sgd = Sgd(model, **vars(u))
    x, y = torch.cat([near, task.retain.x.double()]), torch.cat([labels, task.retain.y])
    for _ in range(u.epochs):
        sgd.step(cross_entropy(sgd.model, x, y))
    return sgd.model


def lotus(u, model, task, rows, places, noise):
    """-sum of t log softmax(f): t is tempered on S, and a draw of the old model on R'.

    Of the e-th epoch, `places[e]` are the examples of S and R' in the order of the rows of
    `noise[e]`.
    """
    teacher = copy.deepcopy(model).double()
    sgd = Sgd(model, **vars(u))
    x = torch.cat([task.forget.x, task.retain.x[rows]]).double()
    for e in range(u.epochs):
        right = sgd.model(task.forget.x.double()).argmax(1) == task.forget.y
        temperature = math.exp(u.alpha * (float(right.double().mean()) - u.unseen_accuracy))
        total = 0.0
        for place, g in zip(places[e], noise[e].double(), strict=True):
            z = teacher(x[place][None])[0].detach() + g
            t = (
                (z / temperature).softmax(0)
                if place < len(task.forget)
                else (z == z.max()).double()
            )
            total = total - (t * sgd.model(x[place][None])[0].log_softmax(0)).sum()
        sgd.step(total / len(x))
    return sgd.model


def weight_distortion(u, model, task, noise):
    """theta + std * noise, once; then CE(R)."""
    start = copy.deepcopy(model).double()
    for theta, drawn in zip(start.parameters(), noise, strict=True):
        theta.data += u.std * drawn.double()
    return finetune(u, start, task)


def weight_dist_reg(u, model, task):
    """CE(R) - alpha * sqrt(mean (theta - theta_o)^2 + 1e-8)."""
    start = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    sgd = Sgd(model, **vars(u))
    for _ in range(u.epochs):
        theta = torch.cat([p.flatten() for p in sgd.model.parameters()])
        far = (((theta - start) ** 2).mean() + 1e-8).sqrt()
        sgd.step(cross_entropy(sgd.model, task.retain.x, task.retain.y) - u.alpha * far)
    return sgd.model


def datamodel_matching(u, model, task, rows):
    """(f - f_o - shift)^2, f the logit of p_y; f_o is limited to +-log(2^12 - 1) on S."""

    def output(net, x, y):
        p = net(x.double()).softmax(1)[range(len(y)), y]
        return (p / (1 - p)).log()

    before = copy.deepcopy(model).double()
    x = torch.cat([task.forget.x, task.retain.x[rows]])
    y = torch.cat([task.forget.y, task.retain.y[rows]])
    target, forget = output(before, x, y).detach(), len(task.forget)
    target[:forget] = target[:forget].clamp(-math.log(2**12 - 1), math.log(2**12 - 1))
    target += torch.tensor([*task.shift[:forget], *task.shift[forget:][rows]])
    sgd = Sgd(model, **vars(u))
    for _ in range(u.epochs):
        sgd.step(((output(sgd.model, x, y) - target) ** 2).mean())
    return sgd.model


def _datamodel_matching(u, model, task):
    rows = (SEED / "retain").choice(90, int(u.retain_share * 90))
    return datamodel_matching(u, model, task, rows)


def _nothing(u, model, task):
    return model


def _retrain(u, model, task):
    return training.fit(u.recipe, task.retain, SEED)


def _l1_sparse(u, model, task):
    return finetune(u, model, task, u.alpha)


def _random_label(u, model, task, frozen=None):
    labels = [u.labels(task, RUNTIME, epoch) for epoch in range(u.epochs)]
    return random_label(u, model, task, labels, frozen)


def _salun(u, model, task):
    frozen = salun_frozen(task.original, [task.forget], u.keep)
    return _random_label(u, model, task, frozen)


def _bad_teacher(u, model, task):
    rows = (SEED / "retain").choice(90, int(u.retain_share * 90))
    return bad_teacher(u, model, task, untrained(model, SEED / "teacher"), rows)


def _ssd(u, model, task):
    return ssd(u, model, [task.forget], [concat_sets(task, task.forget.y)])


def _msg(u, model, task):
    seed = SEED / "mask"
    rows = (seed / "retain").choice(90, 40)
    parameters = dict(model.named_parameters())
    fresh = {name: redrawn(parameters[name], seed / name) for name in layer_weights(model)}
    return msg(u, model, task, rows, fresh)


def _lotus(u, model, task):
    rows = (SEED / "retain").choice(90, int(u.retain_share * 90))
    total = 40 + len(rows)
    like = torch.zeros(total, model(task.forget.x[:1]).shape[1])
    seeds = [SEED / e for e in range(u.epochs)]
    places = [(seed / "mixed" / "order").permutation(total) for seed in seeds]
    return lotus(u, model, task, rows, places, [gumbel(like, s / "gumbel" / 0) for s in seeds])


def _weight_distortion(u, model, task):
    noise = []
    for name, parameter in model.named_parameters():
        with (SEED / "mask" / name).torch():
            noise.append(torch.randn(parameter.shape))
    return weight_distortion(u, model, task, noise)


@dataclass(frozen=True)
class Case:
    """The row of an unlearner.

    Attributes:
        literal: the formula, of (unlearner, model, task).
        fields: fields with which one batch holds everything, for `closed_forms`.
        forgets: fields with which the unlearner forgets wrong labels that a network memorized, for
            `tests/contract/test_forgetting.py`. One test per entry.
        model: network of that test.
    """

    literal: Callable[..., torch.nn.Module]
    fields: Mapping[str, Any]
    forgets: tuple[Mapping[str, Any], ...] = ({},)
    model: str = "mlp"


CASES = {
    "nothing": Case(_nothing, {}, forgets=()),
    "retrain": Case(
        _retrain,
        {"recipe": Recipe("mlp", epochs=2, lr=0.1, batch_size=130)},
        forgets=({"recipe": Recipe("mlp", epochs=80, lr=0.1, batch_size=64)},),
    ),
    "finetune": Case(finetune, ONE_BATCH, forgets=({"lr": 0.1},)),
    "l1_sparse": Case(
        _l1_sparse, {**ONE_BATCH, "alpha": 0.01}, forgets=({"lr": 0.1, "alpha": 5e-4},)
    ),
    "neggrad": Case(neggrad, ONE_BATCH, forgets=({"lr": 0.007},)),
    "neggrad+": Case(neggrad_plus, ONE_BATCH, forgets=({"lr": 0.05, "epochs": 3},)),
    "scrub": Case(scrub, {**ONE_BATCH, "max_epochs": 1}, forgets=({"lr": 0.1, "alpha": 0.05},)),
    "random_label": Case(_random_label, ONE_BATCH, forgets=({"lr": 0.1},)),
    "salun": Case(_salun, ONE_BATCH, forgets=({"lr": 0.1},)),
    "influence": Case(
        influence,
        {},
        forgets=({"alpha": 5.0}, {"alpha": 0.5, "mode": "fisher", "damping": 0.01}),
    ),
    "bad_teacher": Case(_bad_teacher, ONE_BATCH, forgets=({"lr": 0.1},)),
    "ssd": Case(_ssd, {"batch_size": 130, "alpha": 2.0}, forgets=({"alpha": 25.0},)),
    "msg": Case(_msg, ONE_BATCH, forgets=({"lr": 0.1},)),
    "ct": Case(ct, ONE_BATCH, forgets=({"lr": 0.1},), model="small_cnn"),
    "amun": Case(
        amun, {**ONE_BATCH, "radius": 0.1, "radii": 4, "steps": 8}, forgets=({"lr": 0.1},)
    ),
    "lotus": Case(
        _lotus,
        ONE_BATCH,
        forgets=({"lr": 0.1, "alpha": 4.0, "unseen_accuracy": 0.0, "retain_share": 1.0},),
    ),
    "weight_distortion": Case(_weight_distortion, ONE_BATCH, forgets=({"lr": 0.1, "std": 0.05},)),
    "weight_dist_reg": Case(weight_dist_reg, ONE_BATCH, forgets=({"lr": 0.1, "alpha": 10.0},)),
    "datamodel_matching": Case(
        _datamodel_matching,
        {**ONE_BATCH, "lr": 0.01},
        forgets=({"lr": 0.002, "retain_share": 1.0},),
    ),
}
