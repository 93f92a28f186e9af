"""Write CIFAR-10 pictures as folders of PNG files, one folder per class.

    python pictures.py DATA FOLDER [--classes K] [--train N] [--test N] [--mixed]

DATA has train.parquet and test.parquet. FOLDER receives train/CLASS/0000.png and so on. With
--mixed, some files of the training set are turned and say so in EXIF, some are grey, and one is a
CMYK JPEG; a program that reads them well sees the same pictures (grey ones without colour).
"""

import argparse
import io
from pathlib import Path

import pandas as pd
from PIL import Image, ImageOps

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ORIENTATION, QUARTER_LEFT = 0x0112, 6
TURNED, GREY = 10, 12


def write(data: Path, folder: Path, classes: int, train: int, test: int, mixed: bool) -> None:
    """Write `train` and `test` pictures per class."""
    for split, count in (("train", train), ("test", test)):
        table = pd.read_parquet(data / f"{split}.parquet")
        labels = table.columns[-1]
        images = next(name for name in table.columns if name != labels)
        for label, name in enumerate(NAMES[:classes]):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for number, value in enumerate(table[table[labels] == label][images][:count]):
                picture = Image.open(
                    io.BytesIO(value["bytes"] if isinstance(value, dict) else value)
                )
                odd = mixed and split == "train"
                _save(picture.convert("RGB"), place, number, odd, odd and label == 0)


def _save(picture: Image.Image, place: Path, number: int, odd: bool, first_class: bool) -> None:
    path, exif = place / f"{number:04d}.png", Image.Exif()
    if odd and first_class and number == 1:
        picture.convert("CMYK").save(path.with_suffix(".jpg"), quality=95)
        return
    if odd and number % GREY == 5:
        picture = ImageOps.grayscale(picture)
    if odd and number % TURNED == 3:
        # Orientation 6: the viewer turns the picture by a quarter to the right.
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[ORIENTATION] = QUARTER_LEFT
    picture.save(path, exif=exif)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--train", type=int, default=60)
    parser.add_argument("--test", type=int, default=40)
    parser.add_argument("--mixed", action="store_true")
    options = parser.parse_args()
    write(**vars(options))
