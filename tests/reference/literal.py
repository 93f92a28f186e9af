"""Building blocks of the literal references, in double precision: SGD, losses, gradients."""

import copy

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


def distance(one, other):
    """The largest difference of two models' weights and buffers."""
    a, b = one.state_dict(), other.state_dict()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def check(result, literal, start):
    """Compare a result with the literal one, and check that its weights moved by far more."""
    assert distance(result, literal) < 2e-6
    assert distance(literal, start) > 1e-3, "the test is blind: no weight moved by more than 1e-3"
