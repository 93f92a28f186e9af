import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import nn

from rum_ray.training.losses import distillation_kl, l1_norm


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_is_the_divergence_from_teacher_to_student(temperature):
    student, teacher = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    p, q = (softmax(logits.double().numpy() / temperature, axis=1) for logits in (teacher, student))
    expected = temperature**2 * np.mean([entropy(a, b) for a, b in zip(p, q, strict=True)])
    assert float(distillation_kl(student, teacher, temperature)) == pytest.approx(
        expected, rel=1e-5
    )


def test_l1_norm_is_over_all_parameters():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(-0.5)
    assert float(l1_norm(model).detach()) == 0.5 * (4 + 2 + 2 + 2)
    l1_norm(model).backward()
    assert all(torch.equal(p.grad, -torch.ones_like(p)) for p in model.parameters())
