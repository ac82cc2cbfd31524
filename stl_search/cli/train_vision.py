"""`stl-search train vision`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stl_search.cli.common import echo_json, going_on_later, json_option, out, progress_bar
from stl_search.cli.names import devices, vision_models


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with train/ and val/, or an npz file.",
)
@click.option("--out", "target", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--model",
    default="t2t-vit-7",
    show_default=True,
    shell_complete=vision_models,
    help="t2t-vit-7, -14, -7-32 or -small-32.",
)
@click.option(
    "--tokens",
    type=click.Choice(["performer", "transformer"]),
    default="performer",
    show_default=True,
    help="Attention between the soft splits.",
)
@click.option(
    "--linear",
    type=click.Choice(["dense", "stl", "narrow", "low-rank"]),
    default="stl",
    show_default=True,
    help="Linear layers; the last two have the multiplications of stl.",
)
@click.option(
    "--rank", type=click.IntRange(min=1), default=24, show_default=True, help="Of <4,4,4> encoders."
)
@click.option("--encoders", default="", help="A name or file in place of the published ones of the rank.")
@click.option(
    "--init",
    "initialisation",
    type=click.Choice(["encode", "scaled", "draw"]),
    default="draw",
    show_default=True,
    help="Encoded dense weights, these scaled, or drawn ones.",
)
@click.option(
    "--factors",
    type=click.Choice(["frozen", "layer", "shared"]),
    default="frozen",
    show_default=True,
    help="Train encoders and decoders too, by layer or one for all.",
)
@click.option(
    "--rows",
    type=click.Choice(["sequence", "batch"]),
    default="sequence",
    show_default=True,
    help="Which rows share a tile: an image's tokens, or images.",
)
@click.option(
    "--decay-of",
    "decay",
    type=click.Choice(["map", "encoded"]),
    default="encoded",
    show_default=True,
    help="What weight decay means for STL layers.",
)
@click.option("--size", type=click.IntRange(min=8), help="Side of images from a folder; 224 by default.")
@click.option("--epochs", type=click.IntRange(min=1), default=300, show_default=True)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Images a step, all processes together.",
)
@click.option("--lr", type=float, default=5e-4, show_default=True)
@click.option("--encoded-lr", type=float, help="Of encoded weights; by default one that makes steps as long.")
@click.option("--factor-lr", type=float, help="Of trained factors; --lr by default.")
@click.option("--weight-decay", type=float, default=0.03, show_default=True)
@click.option("--warmup", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Epochs.")
@click.option("--smoothing", type=float, default=0.1, show_default=True, help="Of the labels.")
@click.option("--mixup", type=float, default=0.0, show_default=True, help="Alpha; 0 for none.")
@click.option(
    "--average", type=float, default=0.0, show_default=True, help="Decay of the averaged weights; 0 for none."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--device", default="", shell_complete=devices, help="cuda where there is one, else cpu.")
@click.option("--bf16", "autocast", is_flag=True, help="Products in bfloat16.")
@click.option("--compile", "compiled", is_flag=True, help="Through torch.compile.")
@json_option
def vision(
    data: Path,
    target: Path,
    as_json: bool,
    size: int | None,
    device: str,
    initialisation: str,
    factors: str,
    rows: str,
    lr: float,
    encoded_lr: float | None,
    factor_lr: float | None,
    weight_decay: float,
    decay: str,
    **fields: Any,
) -> None:
    """Train an image classifier from nothing: dense, or with STL layers for all linear ones but the head.

    The defaults are near T2T-ViT's for ImageNet. Stopped, the same command goes on from its last checkpoint.
    The folder gets log.csv, result.json, curve.png and checkpoint.safetensors. For several GPUs put
    `torchrun --nproc-per-node 8 --no-python` before the command.

    \b
    Example:
      stl-search train vision --data cifar10.npz --model t2t-vit-small-32 --epochs 10 --batch 64 --lr 1e-3
          --warmup 1 --out run
    """
    from stl_kernels import LayerOptions
    from stl_models.training.parallel import processes
    from stl_models.training.parameters import Rates
    from stl_models.training.replacing import TrainingOptions
    from stl_models.training.reporting import write_result
    from stl_models.training.vision import VisionRecipe, train_vision
    from stl_models.vision.images import read_images

    rates = Rates(lr, encoded_lr, factor_lr, weight_decay, decay=decay)
    layer = LayerOptions(row_grouping=rows)
    options = TrainingOptions(initialisation=initialisation, factors=factors, layer=layer)
    recipe = VisionRecipe(options=options, rates=rates, **fields)
    with processes(device) as (place, first):
        images = read_images(data, size=size)
        with going_on_later(), progress_bar("training", remaining=True) as progress:
            found = train_vision(recipe, images, target, device=place, progress=progress)
        if not first:
            return
        pages = write_result(found, target)
    if as_json:
        echo_json({"folder": str(target), **found})
        return
    low, high = (100 * bound for bound in found["interval"])
    ratios, numbers = found["multiplications"]["ratios"], found["multiplications"]["model"]
    out.print(
        f"[bold]{target}[/]: accuracy {100 * found['accuracy']:.2f}% (95% for these test images {low:.2f} to "
        f"{high:.2f}); multiplications: linear layers 1/{ratios['core']:.2f}, everything "
        f"1/{ratios['everything']:.2f} of the dense model's; {numbers['parameters']:,} parameters, "
        f"{found['seconds_an_epoch']:.3g} s an epoch",
        soft_wrap=True,
    )
    out.print(f"results: {', '.join(str(page) for page in pages)}", soft_wrap=True)
