"""The one place that imports torchvision, on PyTorch builds with and without its operators.

A torchvision wheel built for CUDA does not load its compiled operators beside a CPU build of
PyTorch, and then fails to import because it registers functions of operators that are missing.
Declaring the two that it asks for is enough: nothing here calls them.
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
