"""Data: what is read, what is refused, and what augmentation leaves."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from stl_algebra.errors import InvalidInput, Unavailable
from stl_models.vision.images import mixed, random_box, read_images, shifted_and_mirrored

RNG = np.random.default_rng(0)


def arrays(count=8, size=(8, 8, 3)):
    images = RNG.integers(0, 256, (count, *size)).astype(np.uint8)
    return images, np.arange(count) % 2


def write(path, **changes):
    images, labels = arrays()
    held = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(path, **{k: v for k, v in (held | changes).items() if v is not None})
    return path


def coded(images):
    """Image files one after the other, and where they begin."""
    parts = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        parts.append(stream.getvalue())
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])


def test_files_in_an_npz_are_the_images_and_channels_may_stand_anywhere(tmp_path):
    images = arrays()[0]
    data, offsets = coded(images)
    names = {
        f"{part}_{what}": v
        for part in ("train", "test")
        for what, v in (("jpeg", data), ("offsets", offsets))
    }
    first = read_images(write(tmp_path / "a.npz", train_images=None, test_images=None, **names))
    turned = images.transpose(0, 3, 1, 2)
    second = read_images(write(tmp_path / "b.npz", train_images=images, test_images=turned))
    places = torch.arange(8)
    assert torch.equal(first.train.batch(places, None), torch.from_numpy(images.transpose(0, 3, 1, 2)))
    for part in (second.train, second.test):
        assert torch.equal(part.batch(places, None), first.train.batch(places, None))
    normal = first.normalised(first.train.batch(places, None))
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(normal.std((0, 2, 3)), torch.ones(3), rtol=0, atol=1e-5)


def test_folders_are_read_by_class_and_brought_to_one_size(tmp_path):
    for part in ("train", "val"):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for number, size in enumerate(((20, 30), (16, 16))):
                colour = Image.new("RGB", size, (200 * label, 10, 10))
                colour.save(tmp_path / part / name / f"{number}.png")
    data = read_images(tmp_path, size=8)
    assert data.names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    for generator in (None, torch.Generator().manual_seed(0)):
        batch = data.train.batch(torch.tensor([0, 3]), generator)
        assert batch.shape == (2, 3, 8, 8)
        assert batch[:, 0].flatten(1).unique(dim=1).tolist() == [[0], [200]]
    assert len(read_images(tmp_path, size=8).first(3).train.labels) == 3
    (tmp_path / "val" / "cow").mkdir()
    with pytest.raises(InvalidInput, match="cow in val"):
        read_images(tmp_path, size=8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_labels": np.zeros(8)}, "train_labels: expected integers"),
        ({"train_labels": np.zeros(7, int)}, "train_labels: expected 8"),
        ({"train_labels": np.arange(8) % 2 - 1}, "labels from 0 to 1, got train labels from -1"),
        (
            {"train_labels": np.zeros(8, int), "test_labels": np.zeros(8, int)},
            "two classes, got class 0 only",
        ),
        ({"test_labels": np.arange(8)}, "every class, got class 2 among the test images only"),
        ({"train_images": np.zeros((8, 4, 4, 3), np.uint8)}, r"one size, got \(3, 4, 4\) and"),
        ({"train_images": np.zeros((8, 8, 8, 3))}, "train_images: expected uint8"),
        ({"train_images": None}, "expected train_images or train_jpeg"),
        ({"names": np.array(["a"])}, "labels from 0 to 0, got train labels from 0 to 1"),
    ],
)
def test_an_npz_is_refused_in_words(tmp_path, changes, words):
    with pytest.raises(InvalidInput, match=words):
        read_images(write(tmp_path / "x.npz", **changes))


def test_images_of_different_sizes_and_broken_files_are_named(tmp_path):
    images = [*arrays(3)[0], *arrays(1, (9, 8, 3))[0]]
    data, offsets = coded(images)
    changes = {
        "train_images": None,
        "train_jpeg": data,
        "train_offsets": offsets,
        "train_labels": np.arange(4) % 2,
    }
    with pytest.raises(InvalidInput, match=r"\(8, 8\) and, at train image 3, \(9, 8\)"):
        read_images(write(tmp_path / "x.npz", **changes))
    broken = data.copy()
    broken[: offsets[1]] = 0
    with pytest.raises(Unavailable, match="train image 0"):
        read_images(write(tmp_path / "x.npz", **{**changes, "train_jpeg": broken}))
    with pytest.raises(InvalidInput, match="a folder of train/ and val/"):
        read_images(tmp_path / "none")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(Unavailable, match="cannot read"):
        read_images(tmp_path / "text.npz")


def test_shifts_and_mirror_images_move_pixels_and_make_none():
    images = torch.randint(
        1, 256, (16, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    made = shifted_and_mirrored(images, torch.Generator().manual_seed(0))
    again = shifted_and_mirrored(images, torch.Generator().manual_seed(0))
    assert torch.equal(made, again)
    ways = set()
    for image, got in zip(images[:, 0], made[:, 0], strict=True):
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
        for mirrored in (False, True):
            for top in range(3):
                for left in range(3):
                    part = padded[top : top + 8, left : left + 8]
                    # The mirror image of a shifted one.
                    if torch.equal(part.flip(1) if mirrored else part, got):
                        ways.add((mirrored, top, left))
                        break
        assert ways
    assert len({mirrored for mirrored, _, _ in ways}) == 2
    assert len({(top, left) for _, top, left in ways}) > 3


def test_boxes_lie_in_the_image_and_blends_keep_the_mass_of_targets():
    for chances in RNG.random((50, 5)).tolist():
        left, top, right, bottom = random_box(30, 20, chances)
        assert 0 <= left < right <= 30 + 1e-6
        assert 0 <= top < bottom <= 20 + 1e-6
        assert (right - left) * (bottom - top) <= 600 + 1e-6
    images, targets = torch.randn(6, 3, 4, 4), torch.eye(6)
    blend, shares = mixed(images, targets, 0.8)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    torch.testing.assert_close(blend, torch.einsum("bc,cxyz->bxyz", shares, images))
