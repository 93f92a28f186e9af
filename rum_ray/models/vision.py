"""The only import of torchvision; it also works where torchvision's compiled operators do not load.

A torchvision wheel built for CUDA does not load its operators with a CPU build of PyTorch. Its
import then fails, because it registers functions for operators that are missing. Declaring the two
missing operators mends the import; this package never calls them.
"""

import torch

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

try:
    import torchvision.models as vision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    for _operator in _OPERATORS:
        torch.library.define(f"torchvision::{_operator}", _SCHEMA)
    import torchvision.models as vision

__all__ = ["vision"]
