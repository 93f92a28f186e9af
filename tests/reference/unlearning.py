"""Literal transcriptions of the unlearners' formulas, in double precision.

An epoch is one step on the whole of each set, so the order of the examples does not matter.
"""

import copy

import torch


class Sgd:
    """v <- momentum * v + gradient + weight_decay * theta; theta <- theta - lr * v."""

    def __init__(self, model, /, *, lr, momentum, weight_decay, **_):
        self.model = copy.deepcopy(model).double()
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocity = [torch.zeros_like(theta) for theta in self.model.parameters()]

    def step(self, loss, added=None, frozen=None):
        thetas = list(self.model.parameters())
        gradients = torch.autograd.grad(loss, thetas)
        for i, (theta, gradient) in enumerate(zip(thetas, gradients, strict=True)):
            if added is not None:
                gradient = gradient + added(theta.detach())
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
    loss = sum(cross_entropy(original, batch.x, batch.y) for batch in batches)
    gradients = torch.autograd.grad(loss, list(original.parameters()))
    saliency = [(float(g), i) for i, g in enumerate(torch.cat([g.flatten() for g in gradients]))]
    ranked = sorted((-abs(value), i) for value, i in saliency)
    moving = {i for _, i in ranked[: int(keep * len(ranked))]}
    masks, first = [], 0
    for g in gradients:
        mask = [first + j not in moving for j in range(g.numel())]
        masks.append(torch.tensor(mask).view(g.shape))
        first += g.numel()
    return masks


def check(result, literal, start):
    """Hold a result against the literal one; and see that it moved, by far more than that."""
    moved = 0.0
    for name, expected in literal.state_dict().items():
        got, before = result.state_dict()[name].double(), start.state_dict()[name].double()
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)
        moved = max(moved, float((expected - before).abs().max()))
    assert moved > 1e-3, f"the test is blind: no weight moved by more than {moved}"
