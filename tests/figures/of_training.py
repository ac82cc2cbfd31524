"""Where the figures of the page on training come from."""

import math
from functools import cache, partial

import numpy as np
import torch

from stl_algebra import encoders
from stl_kernels import LayerOptions
from stl_models import replace_linears_
from stl_models.training.controls import count_image
from stl_models.training.counting import ratios
from stl_models.vision import t2t_vit
from tests.figures.stored import stored

TRAINING = "docs/training.md"
#: As Yuan et al. 2021 print them: parameters and multiplications.
PUBLISHED = {"t2t-vit-7": (4.3e6, 1.1e9), "t2t-vit-14": (21.5e6, 4.8e9)}


def summary():
    return stored("training/cifar10.json")["summary"]


def accuracies(*arms):
    return tuple(100 * summary()[arm]["accuracy"] for arm in arms)


def hours_of_all_arms():
    document = stored("training/cifar10.json")
    return (sum(run["seconds_an_epoch"] for run in document["runs"].values()) * document["epochs"] / 3600,)


def tuned(arm):
    return next(one for one in stored("training/fine-tuning.json")["summary"] if one["arm"] == arm)


def perplexities(arm):
    return tuned(arm)["before"], tuned(arm)["after"]


def heads():
    return stored("training/heads.json")


def last_layer(times):
    found = heads()["last layer"][f"Adam, {times} times the seconds"]
    return found["squared_error"], 100 * found["accuracy"]


def steps_of_adam_in_one():
    """Steps of Adam in the time of a step of Gauss-Newton, to two digits."""
    small = heads()["small head"]
    return (round(small["Adam, the same seconds"]["steps"] / len(small["curve"]), -1),)


@cache
def counted(name):
    """Multiplications of a model, and how many times less at r = 24; weights are .01, for shapes decide."""
    with torch.device("meta"):
        model = t2t_vit(name)
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.fill_(0.01)
        dense = count_image(model, model.config)
        options = LayerOptions(row_grouping="sequence")
        replace_linears_(model, "4x4x4-r24", skip=("head",), initialisation="draw", layer=options)
        return model.config, dense, ratios(dense, count_image(model, model.config))


def row_of(name):
    _, dense, less = counted(name)
    parameters, everything = PUBLISHED[name]
    return (
        dense.parameters / 1e6, parameters / 1e6, dense.everything / 1e9, everything / 1e9,
        less["core"], less["everything"],
    )  # fmt: skip


def farthest_from_published():
    """In per cent, rounded up."""
    apart = max(abs(counted(name)[1].parameters / PUBLISHED[name][0] - 1) for name in PUBLISHED)
    return (math.ceil(1e3 * apart) / 10,)


def without_attention(name):
    """The backbone's: queries times keys, and what they weigh times values."""
    config, dense, _ = counted(name)
    tokens = (config.size // 16) ** 2 + 1
    return (dense.everything - 2 * tokens**2 * config.width * config.depth) / 1e9


def of_the_papers_setting():
    """Multiplications forward and twice that backward, 2 operations each; hours at 1e14 a second."""
    everything = counted("t2t-vit-7")[1].everything
    operations = 300 * 1.28e6 * everything * 3 * 2
    return everything / 1e9, operations, operations / 1e14 / 3600


def gram_of_maps(rank):
    found = encoders("4x4x4", rank)
    return (found.encode_x @ found.encode_x.T) * (found.decode.T @ found.decode) / 4


def lengths(*ranks):
    return tuple(math.sqrt(np.trace(gram_of_maps(rank)) / 16) for rank in ranks)


def decay_of_maps():
    """Least and largest eigenvalue, and the largest at the rate of encoded weights."""
    values = np.linalg.eigvalsh(gram_of_maps(24))
    return values[0], values[-1], values[-1] / lengths(24)[0]


FIGURES = [
    (
        TRAINING,
        r"is ([\d.]+) \(r = 16\), ([\d.]+) \(24\), ([\d.]+) \(32\), ([\d.]+) \(49\): at the dense",
        lambda: lengths(16, 24, 32, 49),
    ),
    (TRAINING, r"reach from (\.\d+) to (\d+), so it shrinks some directions (\d+) times", decay_of_maps),
    *(
        (
            TRAINING,
            rf"{label} \| ([\d.]+) M \| ([\d.]+) M \| ([\d.]+) \| ([\d.]+) \| ([\d.]+)x \| ([\d.]+)x",
            partial(row_of, label.lower()),
        )
        for label in ("T2T-ViT-7", "T2T-ViT-14")
    ),
    (TRAINING, r"parameters agree within ([\d.]+)%", farthest_from_published),
    (
        TRAINING,
        r"without the products of attention they would be ([\d.]+) and ([\d.]+)\.\)",
        lambda: tuple(map(without_attention, PUBLISHED)),
    ),
    (TRAINING, r"64/24 is ([\d.]+): the dense head", lambda: (64 / 24,)),
    (TRAINING, r"take ([\d.]+) hours of one core for all", hours_of_all_arms),
    (
        TRAINING,
        r"the narrowed dense model is at ([\d.]+)%, STL r = 24 at ([\d.]+)% and low rank at ([\d.]+)%; "
        r"the dense model is at ([\d.]+)% and so is the one narrowed to everything that r = 24 takes, "
        r"([\d.]+)%",
        lambda: accuracies(
            "narrow, core of 24", "stl 24", "low rank, core of 24", "dense", "narrow, everything of 24"
        ),
    ),
    (
        TRAINING,
        r"fall with rank: ([\d.]+)% \(r = 16\), ([\d.]+)% \(24\), ([\d.]+)% \(32\)",
        lambda: accuracies("stl 16", "stl 24", "stl 32"),
    ),
    (TRAINING, r"trained freely is at ([\d.]+)%", lambda: accuracies("stl 49")),
    (TRAINING, r"same layer end at ([\d.]+)%", lambda: accuracies("stl 49, along weights")),
    (
        TRAINING,
        r"images at ([\d.]+) G multiplications, forward and backward, are (\S+) operations: (\d+) hours",
        of_the_papers_setting,
    ),
    (
        TRAINING,
        r"starts at ([\d.]+) and ends at ([\d.]+); a fixed",
        lambda: perplexities("converted at ratio 2"),
    ),
    (
        TRAINING,
        r"starts at (\d+) and ends at ([\d.]+)\. Weights",
        lambda: perplexities("2:4, Wanda's mask"),
    ),
    (
        TRAINING,
        r"model, ([\d.]+) million numbers",
        lambda: (tuned("LoRA, rank 8, on the exact model")["trained"] / 1e6,),
    ),
    (
        TRAINING,
        r"ends at ([\d.]+), below the dense model's ([\d.]+):",
        lambda: perplexities("LoRA, rank 8, on the exact model")[::-1],
    ),
    (
        TRAINING,
        r"least squared error, (\.\d+) \(([\d.]+)% of test images\), in ([\d.]+) CPU seconds",
        lambda: (
            heads()["last layer"]["least squares"]["squared_error"],
            100 * heads()["last layer"]["least squares"]["accuracy"],
            heads()["last layer"]["seconds"],
        ),
    ),
    (TRAINING, r"reaches (\.\d+) \(([\d.]+)%\) in the same time", lambda: last_layer(1)),
    (TRAINING, r"(\.\d+) in ten times", lambda: last_layer(10)[:1]),
    (TRAINING, r"(\.\d+) in a hundred times the time \(([\d.]+)%\)", lambda: last_layer(100)),
    (
        TRAINING,
        r"cross entropy does as well on the test images \(([\d.]+)%\)",
        lambda: (100 * heads()["head as trained"]["accuracy"],),
    ),
    (
        TRAINING,
        r"([\d,]+) parameters, ([\d,]+) residuals",
        lambda: (heads()["small head"]["parameters"], heads()["small head"]["residuals"]),
    ),
    (
        TRAINING,
        r"ends at a squared error of (\.\d+), Adam at (\S+) in full batches",
        lambda: (
            heads()["small head"]["Gauss-Newton"]["squared_error"],
            heads()["small head"]["Adam, the same seconds"]["squared_error"],
        ),
    ),
    (TRAINING, r"Its steps cost what (\d+) of", steps_of_adam_in_one),
]
