"""What a trained model says."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rum_ray.data.batches import fixed_batches
from rum_ray.data.bundle import LabeledData


def predict(model: nn.Module, data: LabeledData) -> NDArray[np.float64]:
    """Return the probabilities [N, K] of a model in eval mode, in fixed batches of 250."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        logits = [model(x)[:real].double().cpu() for x, real in fixed_batches(data.x, device)]
    probabilities: NDArray[np.float64] = torch.cat(logits).softmax(dim=1).numpy()
    return probabilities
