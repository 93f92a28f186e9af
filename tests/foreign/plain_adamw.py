"""A user's script: the network of patch_net.py on a folder of pictures, with AdamW.

    python plain_adamw.py train FOLDER CHECKPOINT [--epochs N]
    python plain_adamw.py evaluate FOLDER CHECKPOINT [--logits FILE]

The learning rate warms up, labels are smoothed, and the checkpoint has the form of timm's: the
weights of `torch.compile` under `state_dict`, their moving average, the optimizer and the options.
"""

import argparse
import copy
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from patch_net import net
from PIL import Image, ImageOps
from torch import nn

BATCH, RATE, WARMUP = 32, 0.002, 0.1


def load(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures [N, 3, H, W] in [-1, 1] and labels [N]."""
    classes = sorted(place.name for place in folder.iterdir())
    pictures, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            pictures.append(np.asarray(picture).transpose(2, 0, 1))
            labels.append(label)
    x = torch.from_numpy(np.stack(pictures)).float() / 255
    return (x - 0.5) / 0.5, torch.tensor(labels)


def train(folder: Path, checkpoint: Path, epochs: int) -> None:
    """Train and save a checkpoint."""
    torch.manual_seed(0)
    x, y = load(folder / "train")
    model = net(tuple(x.shape[1:]), int(y.max()) + 1)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    steps = epochs * math.ceil(len(x) / BATCH)
    rate = lambda step: min(1, (step + 1) / (WARMUP * steps)) * (1 - step / steps)  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(model(x[rows]), y[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            for mean, value in zip(average.parameters(), model.parameters(), strict=True):
                mean.data.lerp_(value.data, 0.1)
    args = argparse.Namespace(lr=RATE, data=str(folder), smoothing=0.1)
    saved = {"epoch": epochs, "arch": "patch_net", "state_dict": _compiled(model)}
    saved |= {"state_dict_ema": _compiled(average), "optimizer": optimizer.state_dict()}
    torch.save({**saved, "args": args, "classes": int(y.max()) + 1}, checkpoint)


def _compiled(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights by the names that `torch.compile(model)` saves."""
    return {f"_orig_mod.{name}": value for name, value in model.state_dict().items()}


def evaluate(folder: Path, checkpoint: Path, logits: Path | None) -> dict[str, float]:
    """Return the accuracy on both splits of the model in a checkpoint."""
    # The script trusts its own file, which holds a Namespace.
    saved = torch.load(checkpoint, weights_only=False)
    found, outputs = {}, {}
    with torch.inference_mode():
        for split in ("train", "test"):
            x, y = load(folder / split)
            model = net(tuple(x.shape[1:]), saved["classes"]).eval()
            names = {k.removeprefix("_orig_mod."): v for k, v in saved["state_dict"].items()}
            model.load_state_dict(names)
            outputs[split] = torch.cat([model(part) for part in x.split(BATCH)])
            found[split] = float((outputs[split].argmax(1) == y).float().mean())
    if logits is not None:
        np.savez(logits, **{split: values.numpy() for split, values in outputs.items()})
    return {**found, "epoch": saved["epoch"], "lr": saved["args"].lr}


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
