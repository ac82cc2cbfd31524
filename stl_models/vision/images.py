"""Labelled images: npz files and folders of folders, read with Pillow; and batches of them, augmented.

An npz holds `train_images` (N, H, W), (N, H, W, 3) or (N, 3, H, W) uint8 and `train_labels` (N,) integers,
and `test_...` likewise; or, in place of images, `train_jpeg` uint8, image files one after the other, with
`train_offsets` (N + 1,): file i is bytes offsets[i] to offsets[i + 1]. A folder holds train/CLASS/FILE and
val/CLASS/FILE (or test/), the layout of ImageNet.

What does not belong here: steps of training.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stl_algebra.errors import InvalidInput, Unavailable

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm")


class Images(Protocol):
    """What is trained or judged on.

    Attributes:
        labels: (N,) int64.
        extent: height and width of the batches that come out.
        channels: of the images.
    """

    labels: Tensor
    extent: tuple[int, int]
    channels: int

    def batch(self, places: Tensor, generator: torch.Generator | None) -> Tensor:
        """Images (B, channels, H, W) uint8 at these places, augmented where there is a generator."""
        ...

    def some(self, count: int) -> Images:
        """A part of them."""
        ...


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images for training and for judging, and what they have in common.

    Attributes:
        train, test: the two parts.
        names: of the classes.
        mean, deviation: (channels,) of the training images' values / 255, by which inputs are normalised.
    """

    train: Images
    test: Images
    names: tuple[str, ...]
    mean: Tensor = field(repr=False)
    deviation: Tensor = field(repr=False)

    def normalised(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) float32 of mean 0 and deviation 1 over the training images."""
        mean, deviation = (v.to(images.device)[:, None, None] for v in (self.mean, self.deviation))
        return (images.float() / 255 - mean) / deviation

    def first(self, count: int) -> ImageSet:
        """The same with so many training images: the first, or of files, which are sorted by class, any."""
        train = self.train.some(count)
        _check_labels(train.labels, self.test.labels, len(self.names))
        return replace(self, train=train)


class InMemory:
    """Images (N, C, H, W) uint8 held in memory; augmented by shifts of up to an eighth and mirror images."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self.channels, height, width = images.shape[1:]
        self.extent = (height, width)

    def some(self, count: int) -> InMemory:
        """The first so many."""
        return InMemory(self.images[:count], self.labels[:count])

    def batch(self, places: Tensor, generator: torch.Generator | None) -> Tensor:
        images = self.images[places]
        return images if generator is None else shifted_and_mirrored(images, generator)


class InFiles:
    """Images in files, read when they are asked for and brought to one size.

    For training a random part (8% to 100% of the area, sides in ratios of 3:4 to 4:3) is scaled to the size
    and mirrored at random; for judging the middle is cut out after scaling the shorter side to 8/7 of the
    size: the usual protocol of ImageNet.
    """

    def __init__(self, files: Sequence[Path], labels: Tensor, size: int) -> None:
        self.files, self.labels, self.size = list(files), labels, size
        self.extent, self.channels = (size, size), 3

    def some(self, count: int) -> InFiles:
        """So many, drawn once and for all."""
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(0))[:count]
        return InFiles([self.files[i] for i in order.tolist()], self.labels[order], self.size)

    def batch(self, places: Tensor, generator: torch.Generator | None) -> Tensor:
        chances = None if generator is None else torch.rand(len(places), 5, generator=generator).tolist()
        # Decoding leaves Python's lock.
        with ThreadPoolExecutor(min(len(places), os.cpu_count() or 1)) as pool:
            files = [self.files[i] for i in places.tolist()]
            return torch.stack(list(pool.map(self._read, files, chances or [None] * len(files))))

    def _read(self, path: Path, chances: Sequence[float] | None) -> Tensor:
        image = _open(path.read_bytes(), str(path)).convert("RGB")
        width, height = image.size
        if chances is None:
            side = min(width, height) * 7 / 8
            box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        else:
            box = random_box(width, height, chances)
        from PIL.Image import Resampling

        made = torch.from_numpy(
            np.asarray(image.resize((self.size, self.size), Resampling.BICUBIC, box=box)).copy()
        )
        mirrored = chances is not None and chances[4] < 0.5
        return (made.flip(1) if mirrored else made).permute(2, 0, 1)


def shifted_and_mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image moved by up to an eighth of its sides, zeros coming in; half of them mirrored."""
    count, _, height, width = images.shape
    down, right = height // 8, width // 8
    padded = F.pad(images, (right, right, down, down))
    top = torch.randint(2 * down + 1, (count, 1), generator=generator)
    left = torch.randint(2 * right + 1, (count, 1), generator=generator)
    mirror = torch.rand(count, 1, generator=generator) < 0.5
    rows = top + torch.arange(height)
    columns = torch.arange(width)
    columns = left + torch.where(mirror, columns.flip(0), columns)
    picked = padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def random_box(width: int, height: int, chances: Sequence[float]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a part: 8% to 100% of the area, ratio of sides 3:4 to 4:3.

    Args:
        width, height: of the image.
        chances: uniform in [0, 1): for area, ratio, and place in both directions.
    """
    area, ratio, x, y = chances[:4]
    area = (0.08 + 0.92 * area) * width * height
    ratio = (3 / 4) ** (1 - 2 * ratio)
    wide, high = min((area * ratio) ** 0.5, width), min((area / ratio) ** 0.5, height)
    left, top = x * (width - wide), y * (height - high)
    return left, top, left + wide, top + high


def mixed(images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018, arXiv 1710.09412): every image blended with another of the batch.

    Args:
        images: (B, ...) float. targets: (B, classes), rows of probabilities.
        alpha: of the Beta distribution of the blend; numbers come from torch's global generator.
    """
    share = float(torch._sample_dirichlet(torch.tensor([alpha, alpha]))[0])
    order = torch.randperm(len(images)).to(images.device)
    return share * images + (1 - share) * images[order], share * targets + (1 - share) * targets[order]


def read_images(source: Path, *, size: int | None = None) -> ImageSet:
    """Read and check a data set.

    Args:
        source: an npz file or a folder.
        size: side of the images that come out of a folder; npz images keep theirs.

    Raises:
        InvalidInput: not such a file or folder, images of different sizes, labels that are no integers, that
            lack images or that only the test images have, or fewer than two classes.
        Unavailable: a file cannot be read.
    """
    if source.is_dir():
        parts, names = _read_folder(source, size or 224)
    elif source.suffix == ".npz" and source.is_file():
        parts, names = _read_npz(source)
    else:
        raise InvalidInput("data", expected="a folder of train/ and val/, or an npz file", got=str(source))
    train, test = parts
    _check_labels(train.labels, test.labels, len(names))
    enough = min(len(train.labels), 10_000 if isinstance(train, InMemory) else 256)
    values = train.batch(torch.arange(enough), None).float() / 255
    mean, deviation = values.mean((0, 2, 3)), values.std((0, 2, 3)).clamp_min(1e-3)
    return ImageSet(train, test, names, mean, deviation)


def _check_labels(train: Tensor, test: Tensor, classes: int) -> None:
    for name, labels in (("train", train), ("test", test)):
        if len(labels) == 0:
            raise InvalidInput("data", expected=f"{name} images", got="none")
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            got = f"{name} labels from {int(labels.min())} to {int(labels.max())}"
            raise InvalidInput("data", expected=f"labels from 0 to {classes - 1}", got=got)
    present = torch.unique(train)
    if len(present) < 2:
        got = f"class {int(present[0])} only"
        raise InvalidInput("data", expected="training images of at least two classes", got=got)
    new = set(torch.unique(test).tolist()) - set(present.tolist())
    if new:
        got = f"class {min(new)} among the test images only"
        raise InvalidInput("data", expected="training images of every class", got=got)


def _read_folder(folder: Path, size: int) -> tuple[tuple[Images, Images], tuple[str, ...]]:
    held = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), None)
    if not (folder / "train").is_dir() or held is None:
        raise InvalidInput("data", expected="folders train and val (or test)", got=str(folder))
    names = tuple(sorted(p.name for p in (folder / "train").iterdir() if p.is_dir()))
    others = {p.name for p in held.iterdir() if p.is_dir()} - set(names)
    if others:
        got = f"{min(others)} in {held.name}"
        raise InvalidInput("data", expected=f"classes of {folder / 'train'}", got=got)
    parts = []
    for part in (folder / "train", held):
        files = [(path, label) for label, name in enumerate(names) for path in _images_in(part / name)]
        parts.append(InFiles([f for f, _ in files], torch.tensor([label for _, label in files]), size))
    return (parts[0], parts[1]), names


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES)


def _read_npz(path: Path) -> tuple[tuple[Images, Images], tuple[str, ...]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot read {path}: {error}") from error
    train, test = _part(held, "train"), _part(held, "test")
    if train.images.shape[1:] != test.images.shape[1:]:
        got = f"{tuple(train.images.shape[1:])} and {tuple(test.images.shape[1:])}"
        raise InvalidInput("data", expected="train and test images of one size", got=got)
    count = int(max(train.labels.max(), test.labels.max())) + 1
    names = tuple(str(n) for n in held["names"]) if "names" in held else tuple(map(str, range(count)))
    return (train, test), names


def _part(held: dict[str, NDArray[Any]], name: str) -> InMemory:
    labels = held.get(f"{name}_labels")
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        got = "none" if labels is None else f"{labels.dtype} of shape {labels.shape}"
        raise InvalidInput(f"{name}_labels", expected="integers (N,)", got=got)
    if f"{name}_jpeg" in held:
        images = _decoded(held, name)
    elif f"{name}_images" in held:
        images = held[f"{name}_images"]
    else:
        raise InvalidInput("data", expected=f"{name}_images or {name}_jpeg", got=", ".join(held))
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        got = f"{images.dtype} {images.shape}"
        raise InvalidInput(f"{name}_images", expected="uint8 (N, H, W) or (N, H, W, 3)", got=got)
    if len(images) != len(labels):
        raise InvalidInput(f"{name}_labels", expected=f"{len(images)}, one an image", got=str(len(labels)))
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    return InMemory(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64)))


def _decoded(held: dict[str, NDArray[Any]], name: str) -> NDArray[np.uint8]:
    offsets, data = held.get(f"{name}_offsets"), held[f"{name}_jpeg"]
    if offsets is None or offsets.ndim != 1 or len(offsets) < 2 or int(offsets[-1]) > data.size:
        expected = f"(N + 1,), ends of files in {data.size} bytes"
        raise InvalidInput(f"{name}_offsets", expected=expected, got="none, or others")
    found: list[NDArray[np.uint8]] = []
    for number, (start, end) in enumerate(pairwise(offsets)):
        image = _open(data[start:end].tobytes(), f"{name} image {number}").convert("RGB")
        found.append(np.asarray(image))
        if found[-1].shape != found[0].shape:
            got = f"{found[0].shape[:2]} and, at {name} image {number}, {found[-1].shape[:2]}"
            raise InvalidInput("data", expected="images of one size", got=got)
    return np.stack(found)


def _open(content: bytes, name: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (UnidentifiedImageError, OSError) as error:
        raise Unavailable(f"cannot read {name}: {error}") from error
    return image
