"""Figures in README and on the page on training are those of their files, to the digits that are shown."""

import csv
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = README + (ROOT / "docs/training.md").read_text(encoding="utf-8")


def scores(kind):
    with (ROOT / "results/frontier-4x4x4/scores.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["matrices"].startswith("minilm")]
    return [float(row["nmse"]) for row in rows if kind(row)]


def of_rank_32():
    found = scores(lambda row: row["kind"] == "encoders" and row["rank"] == "32")
    return min(found), max(found)


def of_low_rank_on_tiles():
    found = scores(lambda row: row["method"] == "low rank on exact tiles" and row["ratio"] == "2.0")
    return min(found), max(found)


def of_sorted_features():
    results = json.loads((ROOT / "results/sorted-profile/layers.json").read_text(encoding="utf-8"))["results"]
    rows = next(entry["rows"] for entry in results if entry["source"] == "minilm")
    return (next(r["error"] for r in rows if r["method"] == "sorted profile" and r["rank"] == 32),)


def speedup(shape):
    results = json.loads((ROOT / "results/cpu/layer.json").read_text(encoding="utf-8"))["results"]
    return next(
        e["speedup"] for e in results
        if e["shape"] == shape and e["rank"] in (48, 49) and e["tiling"] == "strided"
    )  # fmt: skip


def training():
    return json.loads((ROOT / "results/training/cifar10.json").read_text(encoding="utf-8"))["summary"]


def accuracies(*arms):
    return tuple(100 * training()[arm]["accuracy"] for arm in arms)


def perplexities(arm):
    document = json.loads((ROOT / "results/training/fine-tuning.json").read_text(encoding="utf-8"))
    return next((one["before"], one["after"]) for one in document["summary"] if one["arm"] == arm)


#: Words with the figures in groups, and where those come from.
FIGURES = [
    (r"rank 32 errs by (\.\d+) to (\.\d+)", of_rank_32),
    (r"low rank on exact tiles by (\.\d+) to (\.\d+)", of_low_rank_on_tiles),
    (r"Sorted features bring rank 32 to (\.\d+) there", of_sorted_features),
    (r"took 1 / ([\d.]+) of the dense product's time at 4096\^3", lambda: (speedup([4096] * 3),)),
    (r"starts at ([\d.]+) and ends at ([\d.]+); a fixed", lambda: perplexities("converted at ratio 2")),
    (r"starts at (\d+) and ends at ([\d.]+)\. Weights", lambda: perplexities("2:4, Wanda's mask")),
    (
        r"the narrowed dense model is at ([\d.]+)%, STL r = 24 at ([\d.]+)% and low rank at ([\d.]+)%; "
        r"the dense model is at ([\d.]+)% and so is the one narrowed to everything that r = 24 takes, "
        r"([\d.]+)%",
        lambda: accuracies(
            "narrow, core of 24", "stl 24", "low rank, core of 24", "dense", "narrow, everything of 24"
        ),
    ),
    (
        r"fall with rank: ([\d.]+)% \(r = 16\), ([\d.]+)% \(24\), ([\d.]+)% \(32\)",
        lambda: accuracies("stl 16", "stl 24", "stl 32"),
    ),
    (r"trained freely is at ([\d.]+)%", lambda: accuracies("stl 49")),
    (r"same layer end at ([\d.]+)%", lambda: accuracies("stl 49, along weights")),
    (
        r"ends at ([\d.]+), below the dense model's ([\d.]+):",
        lambda: perplexities("LoRA, rank 8, on the exact model")[::-1],
    ),
]


@pytest.mark.parametrize(("words", "source"), FIGURES, ids=[words[:30] for words, _ in FIGURES])
def test_a_figure_is_that_of_its_file(words, source):
    match = re.search(words.replace(" ", r"\s+"), TEXTS)
    assert match is not None, words
    for shown, value in zip(match.groups(), source(), strict=True):
        digits = len(shown.partition(".")[2])
        assert round(value, digits) == float(shown), (shown, value)


def meet(one, other):
    (low, high), (least, most) = (training()[arm]["interval_of_seeds"] for arm in (one, other))
    return low <= most and least <= high


def test_what_the_page_says_of_intervals_holds():
    for other in ("dense", "narrow, core of 24", "narrow, everything of 24"):
        assert not meet("stl 24", other)
    assert meet("dense", "stl 49, along weights")
    assert meet("dense", "stl 49")


def test_where_the_text_says_slower_it_is():
    assert "slower than dense at 8192 x 2048 x 512" in re.sub(r"\s+", " ", README)
    assert speedup([8192, 2048, 512]) < 1
