"""Tiny-ImageNet as its archive unpacks."""

import shutil

import numpy as np
import published
import pytest
import torch
from PIL import Image

from rum_ray.data import load
from rum_ray.errors import DataError
from rum_ray.models.vision import vision

VISION = vision  # torchvision's data sets load once its models did
ARCHIVE = "tiny-imagenet-200"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return published.tiny_imagenet(tmp_path_factory.mktemp("tiny") / ARCHIVE)


@pytest.fixture
def folder(whole, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(whole, tmp_path / ARCHIVE)
    return tmp_path / ARCHIVE


def test_the_training_images_are_those_of_image_folder(whole):
    from torchvision.datasets import ImageFolder

    theirs = ImageFolder(str(whole / "train"))
    bundle = load("tiny_imagenet", root=str(whole), valid_fraction=0)
    assert bundle.train.y.tolist() == theirs.targets
    assert bundle.train.ids.tolist() == list(range(600))
    names = [path.removeprefix(f"{whole}/") for path, _ in theirs.samples]
    assert bundle.train.names.values.tolist() == names
    for row in (0, 1, 7, 599):  # rows 0 and 7 are grey
        assert np.array_equal(bundle.train.x[row].permute(1, 2, 0), np.asarray(theirs[row][0]))
    with Image.open(whole / names[7]) as image:
        assert image.mode == "L"


def test_the_test_images_are_those_of_val(whole):
    bundle = load("tiny_imagenet", root=str(whole.parent))
    assert (len(bundle.train), len(bundle.valid)) == (540, 60)
    text = (whole / "val/val_annotations.txt").read_text()
    lines = [line.split("\t") for line in text.splitlines()]
    wnids = sorted((whole / "wnids.txt").read_text().split())
    assert bundle.test.y.tolist() == [wnids.index(line[1]) for line in lines]
    assert bundle.test.names.values.tolist() == [f"val/images/{line[0]}" for line in lines]
    with Image.open(whole / "val/images/val_3.JPEG") as image:
        assert np.array_equal(bundle.test.x[3].permute(1, 2, 0), np.asarray(image))
    assert bundle.train.mean == (0.485, 0.456, 0.406)


def test_classes_have_their_words_unless_two_have_the_same(whole):
    names = load("tiny_imagenet", root=str(whole), size=400, test_size=200).class_names
    assert names[:6] == ("n10000000", "n10000037", "n10000074", "n10000111", "word 4", "word 5")
    assert len({*names}) == 200


def test_a_part_is_stratified(whole):
    bundle = load("tiny_imagenet", root=str(whole), size=400, test_size=200, valid_fraction=0.5)
    parts = (bundle.train, bundle.valid, bundle.test)
    assert all(torch.bincount(part.y).tolist() == [1] * 200 for part in parts)


@pytest.mark.parametrize(
    "name", ["wnids.txt", "words.txt", "train", "val/images", "val/val_annotations.txt"]
)
def test_a_missing_file_or_folder_is_named(folder, name):
    place = folder / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(DataError, match=rf"lacks '{name}'"):
        load("tiny_imagenet", root=str(folder))


def test_photos_that_are_not_unpacked_are_named(folder):
    (folder / "train/n10000037/images/n10000037_1.JPEG").unlink()
    with pytest.raises(DataError, match=r" 1 photos .*'train/n10000037/images/n10000037_1\.JPEG'"):
        load("tiny_imagenet", root=str(folder))
    shutil.rmtree(folder / "train/n10007363")
    with pytest.raises(DataError, match=r" 4 photos .*'train/n10007363/images/n10007363_0\.JPEG'"):
        load("tiny_imagenet", root=str(folder))
    for images in folder.glob("train/*/images"):
        shutil.rmtree(images)
    with pytest.raises(DataError, match="no photos"):
        load("tiny_imagenet", root=str(folder))


def test_labels_of_val_without_photos_and_the_reverse_are_named(folder):
    (folder / "val/images/val_5.JPEG").rename(folder / "val/images/other.JPEG")
    with pytest.raises(DataError, match=r"1 photos .* listed, but missing .*'val_5\.JPEG'"):
        load("tiny_imagenet", root=str(folder))
    (folder / "val/images/other.JPEG").rename(folder / "val/images/val_5.JPEG")
    (folder / "val/images/new.JPEG").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 photos .* no label .*'new\.JPEG'"):
        load("tiny_imagenet", root=str(folder))


@pytest.mark.parametrize("line", ["val_0.JPEG\tn99999999\t0\t0\t63\t63", "val_0.JPEG"])
def test_a_label_that_is_no_class_is_an_error(folder, line):
    file = folder / "val/val_annotations.txt"
    file.write_text("\n".join([line, *file.read_text().splitlines()[1:]]))
    with pytest.raises(DataError, match=r"val_annotations\.txt gives 'val_0\.JPEG' no class"):
        load("tiny_imagenet", root=str(folder))


def test_words_that_are_missing_are_named(folder):
    (folder / "words.txt").write_text("n00001740\tentity\n")
    with pytest.raises(DataError, match=r"words\.txt lacks 'n10000000', .* 190 more"):
        load("tiny_imagenet", root=str(folder))


def test_a_damaged_photo_is_named(folder):
    (folder / "train/n10000037/images/n10000037_1.JPEG").write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"n10000037_1\.JPEG cannot be decoded"):
        load("tiny_imagenet", root=str(folder), valid_fraction=0)


def test_photos_of_another_size_are_refused(folder):
    for photo in folder.rglob("*.JPEG"):
        photo.write_bytes(published.encoded(np.zeros((3, 32, 32), np.uint8), "JPEG"))
    with pytest.raises(DataError, match=r"not Tiny-ImageNet: .*\(200, 3, 32, 32\)"):
        load("tiny_imagenet", root=str(folder))
