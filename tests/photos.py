"""Photos of three classes in folders, as a user may have them."""

from pathlib import Path

import numpy as np
from PIL import Image

from rum_ray.seeding import Seed

CLASSES = ("cat", "dog", "owl")


def write_photos(folder: Path) -> None:
    """Grey, coloured and tall pictures of three classes, 30 a class to train on and 20 to test."""
    for part, count in (("train", 30), ("test", 20)):
        for place, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            pattern = (Seed(0) / name).uniform(12 * 12 * 3).reshape(12, 12, 3)
            for number in range(count):
                noise = (Seed(0) / name / part / number).uniform(12 * 12 * 3).reshape(12, 12, 3)
                pixels = (255 * (0.6 * pattern + 0.4 * noise)).astype(np.uint8)
                image = Image.fromarray(pixels)
                image = image.convert("L") if number % 7 == 3 else image
                image = image.resize((10 + number % 5, 14)) if number % 4 == place else image
                image.save(folder / part / name / f"{name}_{number:03d}.png")
