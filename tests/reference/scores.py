"""Literal transcriptions of the scores' definitions: loops over examples and models."""

import math

import numpy as np


def mean(values):
    return sum(values) / len(values) if values else math.nan


def memorization(included, correct):
    """By example: P[right | in] - P[right | out], and sqrt(p (1 - p) / n of both)."""
    scores, errors = [], []
    for n in range(included.shape[1]):
        inside = [float(c) for i, c in zip(included[:, n], correct[:, n], strict=True) if i]
        outside = [float(c) for i, c in zip(included[:, n], correct[:, n], strict=True) if not i]
        p, q = mean(inside), mean(outside)
        scores.append(p - q)
        unknown = not inside or not outside
        errors.append(
            math.nan
            if unknown
            else math.sqrt(p * (1 - p) / len(inside) + q * (1 - q) / len(outside))
        )
    return scores, errors


def soft_memorization(included, confidences):
    """By example: mean p_y of the models with it less that of the models without."""
    rows = zip(included.T, confidences.T.astype(float), strict=True)
    return [mean(p[i].tolist()) - mean(p[~i].tolist()) for i, p in rows]


def influence(included, correct_test):
    """[T, N]: P[right about t | n in] - P[right about t | n out]."""
    result = np.empty((correct_test.shape[1], included.shape[1]))
    for t in range(result.shape[0]):
        for n in range(result.shape[1]):
            right = correct_test[:, t].astype(float)
            inside, outside = right[included[:, n]], right[~included[:, n]]
            result[t, n] = mean(inside.tolist()) - mean(outside.tolist())
    return result


def entanglement_score(retain, forget, center):
    """ES as spec 4.1 writes it, with mu the midpoint of the means or the mean of all."""
    mu_r, mu_s = np.mean(retain, axis=0), np.mean(forget, axis=0)
    mu = (mu_r + mu_s) / 2 if center == "midpoint" else np.mean([*retain, *forget], axis=0)
    spread = sum(np.linalg.norm(phi - mu_r) ** 2 for phi in retain) / len(retain)
    spread += sum(np.linalg.norm(phi - mu_s) ** 2 for phi in forget) / len(forget)
    apart = (np.linalg.norm(mu_r - mu) ** 2 + np.linalg.norm(mu_s - mu) ** 2) / 2
    return spread / apart


def softmax_gradient(weights, bias, x, label):
    """The gradient by x of -log softmax(W x + b) at a label: W^T (p - e)."""
    z = weights @ x + bias
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    return weights.T @ (p - np.eye(len(bias))[label])


def curvature(gradient, x, h):
    """How far the gradient moves over a step of length h along its own sign."""
    g = gradient(x)
    z = [h * (math.copysign(v != 0, v) + 1e-7) for v in g]
    length = math.sqrt(sum(v != 0 for v in g)) + 1e-7
    return math.dist(gradient(x + np.array(z) / length), g)


def mmd(retain, forget, gamma):
    """The root of mean_RR k + mean_SS k - 2 mean_RS k over all pairs, as spec 4.4 writes it."""

    def mean_kernel(first, second):
        pairs = [np.linalg.norm(a - b) ** 2 for a in first for b in second]
        return mean([math.exp(-gamma * square) for square in pairs])

    within = mean_kernel(retain, retain) + mean_kernel(forget, forget)
    return math.sqrt(within - 2 * mean_kernel(retain, forget))
