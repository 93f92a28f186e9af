"""A user's script: torchvision's ResNet-18 on a folder of pictures, with SGD.

    python plain_resnet.py train FOLDER CHECKPOINT [--epochs N]
    python plain_resnet.py evaluate FOLDER CHECKPOINT [--logits FILE]

FOLDER has train/CLASS and test/CLASS. `evaluate` prints the accuracy on both as JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn

try:
    import torchvision.models as models
except RuntimeError:  # a wheel for CUDA beside a CPU build of PyTorch
    for name in ("nms", "qnms"):
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", schema)
    import torchvision.models as models

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 32


def load(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalised pictures [N, 3, H, W] and labels [N]."""
    classes = sorted(place.name for place in folder.iterdir())
    pictures, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            pictures.append(np.asarray(picture).transpose(2, 0, 1))
            labels.append(label)
    x = torch.from_numpy(np.stack(pictures)).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (x - mean) / std, torch.tensor(labels)


def network(classes: int) -> nn.Module:
    """Return the network as the user trains it: wrapped."""
    return nn.DataParallel(models.resnet18(num_classes=classes))


def train(folder: Path, checkpoint: Path, epochs: int) -> None:
    """Train and save a checkpoint."""
    torch.manual_seed(0)
    x, y = load(folder / "train")
    model = network(int(y.max()) + 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    saved = {"epoch": epochs, "model_state": model.state_dict(), "best": float(loss)}
    saved |= {"optimizer_state": optimizer.state_dict(), "classes": int(y.max()) + 1}
    torch.save(saved, checkpoint)


def evaluate(folder: Path, checkpoint: Path, logits: Path | None) -> dict[str, float]:
    """Return the accuracy on both splits of the model in a checkpoint."""
    saved = torch.load(checkpoint, weights_only=True)
    model = network(saved["classes"])
    model.load_state_dict(saved["model_state"])
    model.eval()
    found, outputs = {}, {}
    with torch.inference_mode():
        for split in ("train", "test"):
            x, y = load(folder / split)
            outputs[split] = torch.cat([model(part) for part in x.split(BATCH)])
            found[split] = float((outputs[split].argmax(1) == y).float().mean())
    if logits is not None:
        np.savez(logits, **{split: values.numpy() for split, values in outputs.items()})
    return {**found, "epoch": saved["epoch"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("train", "evaluate"):
        part = commands.add_parser(command)
        part.add_argument("folder", type=Path)
        part.add_argument("checkpoint", type=Path)
    commands.choices["train"].add_argument("--epochs", type=int, default=8)
    commands.choices["evaluate"].add_argument("--logits", type=Path)
    options = parser.parse_args()
    if options.command == "train":
        train(options.folder, options.checkpoint, options.epochs)
    else:
        print(json.dumps(evaluate(options.folder, options.checkpoint, options.logits)))
