"""Literal transcriptions of the unlearners' formulas, in double precision.

An epoch is one step on the whole of each set, so the order of the examples does not matter.
"""

import copy
import math

import torch


class Sgd:
    """v <- momentum * v + gradient + weight_decay * theta; theta <- theta - lr * v."""

    def __init__(self, model, /, *, lr, momentum, weight_decay, **_):
        self.model = copy.deepcopy(model).double()
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocity = [torch.zeros_like(theta) for theta in self.model.parameters()]

    def step(self, loss, added=None, frozen=None, scales=None):
        thetas = list(self.model.parameters())
        gradients = torch.autograd.grad(loss, thetas)
        for i, (theta, gradient) in enumerate(zip(thetas, gradients, strict=True)):
            if added is not None:
                gradient = gradient + added(theta.detach())
            if scales is not None:
                gradient = gradient * scales[i]
            decayed = gradient + self.weight_decay * theta.detach()
            self.velocity[i] = self.momentum * self.velocity[i] + decayed
            move = self.lr * self.velocity[i]
            if frozen is not None:
                move = torch.where(frozen[i], 0.0, move)
            theta.data = theta.data - move


def cross_entropy(model, x, y):
    """Mean of -log softmax(f(x))_y."""
    exponentials = model(x.double()).exp()
    return -(exponentials[range(len(y)), y] / exponentials.sum(1)).log().mean()


def kl(model, teacher, x, temperature):
    """T^2 / |b| * sum over x of KL(softmax(f_t / T) || softmax(f_s / T))."""
    t = (teacher(x.double()).detach() / temperature).softmax(1)
    s = (model(x.double()) / temperature).softmax(1)
    return temperature**2 * (t * (t / s).log()).sum() / len(x)


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
    """By parameter: which weights are not among the floor(keep * P) of largest |sum d CE(b)|."""
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
    """By parameter: which weights are not among those numbered."""
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


def gradient(model, data):
    """The gradient of CE on a set, as one vector."""
    loss = cross_entropy(model, data.x, data.y)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def moved(model, vector):
    """The model with a vector added to its weights."""
    model = copy.deepcopy(model).double()
    start = 0
    for theta in model.parameters():
        theta.data += vector[start : start + theta.numel()].view(theta.shape)
        start += theta.numel()
    return model


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
    """The redraw share of least |d CE(R') - d CE(S)| in each layer of `fresh` anew; then CE(R)."""
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


def distance(one, other):
    """The largest difference of two models' weights and buffers."""
    a, b = one.state_dict(), other.state_dict()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def check(result, literal, start):
    """Hold a result against the literal one; and see that it moved, by far more than that."""
    assert distance(result, literal) < 2e-6
    assert distance(literal, start) > 1e-3, "the test is blind: no weight moved by more than 1e-3"
