"""`stl-search train lm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stl_search.cli.common import echo_json, going_on_later, json_option, out, progress_bar
from stl_search.cli.names import devices


@click.command()
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of a dense or converted causal model.",
)
@click.option("--text", type=click.Path(path_type=Path), required=True, help="UTF-8 text to train on.")
@click.option(
    "--evaluate", type=click.Path(path_type=Path), required=True, help="Held-out UTF-8 text, for perplexity."
)
@click.option("--out", "target", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--method",
    type=click.Choice(["stl", "2:4", "lora", "dense"]),
    default="stl",
    show_default=True,
    help="What is trained of a dense model; of a converted one, its layers are.",
)
@click.option(
    "--rank", type=click.IntRange(min=1), default=24, show_default=True, help="Of encoders, or of LoRA."
)
@click.option(
    "--factors",
    type=click.Choice(["frozen", "layer", "shared"]),
    default="frozen",
    show_default=True,
    help="Train encoders and decoders too.",
)
@click.option(
    "--loss", type=click.Choice(["next-token", "distillation"]), default="next-token", show_default=True
)
@click.option(
    "--dense",
    "teacher",
    type=click.Path(path_type=Path),
    help="Dense model to learn from; --model by default.",
)
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Windows a step.")
@click.option("--length", type=click.IntRange(min=3), default=128, show_default=True, help="Tokens a window.")
@click.option("--lr", type=float, default=1e-4, show_default=True)
@click.option("--factor-lr", type=float, help="Of trained factors; --lr by default.")
@click.option("--weight-decay", type=float, default=0.0, show_default=True)
@click.option("--warmup", type=click.IntRange(min=0), default=20, show_default=True, help="Steps.")
@click.option("--judge-every", type=click.IntRange(min=1), default=100, show_default=True, help="Steps.")
@click.option(
    "--windows", type=click.IntRange(min=1), default=40, show_default=True, help="Held-out windows."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--device", default="", shell_complete=devices, help="cuda where there is one, else cpu.")
@click.option("--bf16", "autocast", is_flag=True, help="Products in bfloat16.")
@json_option
def lm(
    model: Path,
    text: Path,
    evaluate: Path,
    target: Path,
    teacher: Path | None,
    length: int,
    windows: int,
    device: str,
    as_json: bool,
    lr: float,
    factor_lr: float | None,
    weight_decay: float,
    **fields: Any,
) -> None:
    """Fine-tune a local causal language model: STL layers, a fixed 2:4 mask, LoRA, or all dense layers.

    Only what stands in for the linear layers of the blocks is trained. Stopped, the same command goes on
    from its last checkpoint. The folder gets log.csv, result.json, curve.png, checkpoint.safetensors, and
    model/ or adapter/.

    \b
    Example:
      stl-search train lm --model ./SmolLM2-135M --text book.txt --evaluate other.txt --out tuned
    """
    from stl_models.training.language import LanguageRecipe
    from stl_models.training.parameters import Rates
    from stl_models.tuning import Texts, tune_folder

    rates = Rates(lr, None, factor_lr, weight_decay)
    recipe = LanguageRecipe(rates=rates, **fields)
    texts = Texts(text, evaluate, length, windows)
    with going_on_later(), progress_bar("training", remaining=True) as progress:
        found = tune_folder(model, texts, target, recipe, teacher=teacher, device=device, progress=progress)
    if found is None:
        return
    if as_json:
        echo_json({"folder": str(target), **found})
        return
    last = found["rows"][-1]
    out.print(
        f"[bold]{target}[/]: perplexity {found['before']:.4g} before, {last['perplexity']:.4g} after "
        f"{last['tokens']:,} tokens and {last['seconds']:.3g} s; dense {found['dense']:.4g}; "
        f"{found['trained']:,} numbers trained",
        soft_wrap=True,
    )
