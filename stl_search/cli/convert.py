"""`stl-search convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stl_search.cli.common import command_line, echo_json, err, json_option, out, progress_bar, table
from stl_search.cli.names import predicted_devices
from stl_search.cli.names import recipes as recipe_names
from stl_search.cli.names import tiles as tile_names

if TYPE_CHECKING:
    from stl_models.planning.plan import Plan


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--calibrate", "text", type=click.Path(path_type=Path), required=True, help="UTF-8 text to calibrate on."
)
@click.option(
    "--ratio", type=float, default=2.0, show_default=True, help="Core multiplications, dense over new."
)
@click.option(
    "--out", "target", type=click.Path(path_type=Path), help="A new folder for the converted model."
)
@click.option("--plan-only", is_flag=True, help="Say what would be done, in seconds, and stop.")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    shell_complete=recipe_names,
    help="Allowed recipes; every standard one by default.",
)
@click.option(
    "--tile",
    default="4x4x4",
    show_default=True,
    shell_complete=tile_names,
    help="Format of the exact tiles. Larger ones leave more of the core to products and cost more around it; "
    "the plan says both.",
)
@click.option("--skip", multiple=True, help="Shell patterns of layers to leave alone.")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    shell_complete=predicted_devices,
    help="For predicted times: cpu, cuda, H200, ...",
)
@click.option("--tokens", type=click.IntRange(min=16), default=24_000, show_default=True)
@click.option("--length", type=click.IntRange(min=2), default=128, show_default=True, help="Tokens a window.")
@click.option(
    "--repair", type=click.Choice(["held-out", "always", "never"]), default="held-out", show_default=True
)
@click.option(
    "--distil",
    "distillation",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Gradient steps towards the dense model at the end; holds both in memory.",
)
@click.option(
    "--evaluate",
    type=click.Path(path_type=Path),
    help="Held-out UTF-8 text: metric and times go into the report.",
)
@click.option(
    "--compare", is_flag=True, help="Also convert by 2:4 and low rank, four times; needs --evaluate."
)
@click.option("--dtype", default="", help="Read and convert the model in it; its own by default.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
def convert(
    model: Path,
    text: Path,
    ratio: float,
    target: Path | None,
    plan_only: bool,
    recipes: tuple[str, ...],
    as_json: bool,
    tokens: int,
    length: int,
    evaluate: Path | None,
    compare: bool,
    **fields: Any,
) -> None:
    """Convert a local transformers model: compressed layers on exact tiles, calibrated on a text.

    The source folder is only read. Stopped, the same command goes on with the blocks that are not finished.

    \b
    Example:
      stl-search convert ./all-MiniLM-L6-v2 --calibrate book.txt --ratio 2.0 --out minilm-2x
    """
    from stl_models.folders import Calibration, Judging, convert_folder, judge_folder, plan_folder
    from stl_models.planning.config import ConversionConfig
    from stl_models.reporting import write_report

    if target is None and not plan_only:
        raise click.UsageError("--out is needed, unless --plan-only is given")
    if compare and evaluate is None:
        raise click.UsageError("--compare needs --evaluate, the text that all are judged on")
    fields |= {"recipes": recipes} if recipes else {}
    config = ConversionConfig(ratio=ratio, length=length, **fields)
    calibration = Calibration(text, tokens, length)
    if plan_only:
        with err.status("planning"):
            plan = plan_folder(model, calibration, config).plan
        echo_json(plan.as_json()) if as_json else show_plan(plan)
        if plan.problems:
            raise SystemExit(1)
        return
    assert target is not None
    judging = None if evaluate is None else Judging(evaluate, compare=compare)
    try:
        with progress_bar("converting") as progress:
            report, _, _ = convert_folder(model, calibration, target, config, progress=progress)
    except KeyboardInterrupt:
        count = len(list(target.glob("model-block-*.safetensors")))
        done = "1 block is finished" if count == 1 else f"{count} blocks are finished"
        click.echo(f"stopped: {done}; the same command goes on from there", err=True)
        raise SystemExit(1) from None
    if judging is not None:
        # What takes long is kept first.
        write_report(report, target, command_line())
        with progress_bar("judging") as progress:
            judge_folder(model, target, report, calibration, judging, progress)
    pages = write_report(report, target, command_line())
    if as_json:
        echo_json({"folder": str(target), "report": str(pages[0]), **report.as_json()})
        return
    ratios, others = report.ratios, report.plan.structure.share_of_others()
    beside = f"; {others:.0%} of the weights are in no linear layer" if others >= 0.01 else ""
    out.print(
        f"[bold]{target}[/]: core ratio {ratios['core']:.3f}, with encoding and decoding "
        f"{ratios['everything']:.3f}, numbers {ratios['bytes']:.3f}; {len(report.plan.rows)} layers, "
        f"{len(report.plan.structure.left)} left alone{beside}",
        soft_wrap=True,
    )
    out.print(f"report: {pages[0]}", soft_wrap=True)


def show_plan(plan: Plan) -> None:
    """The plan as a table."""
    numbers = ("K x M", "dense", "core", "all", "dense ms", "new ms")
    shown = table("", ("layer", *numbers, "verdict"), numbers)
    for row in plan.rows:
        times = ("", "") if row.seconds is None else tuple(f"{1e3 * s:.3g}" for s in row.seconds)
        shown.add_row(
            row.name, f"{row.shape[0]} x {row.shape[1]}", f"{row.dense:.4g}", f"{row.core:.4g}",
            f"{row.everything:.4g}", *times, row.verdict,
        )  # fmt: skip
    out.print(shown)
    for name, why in plan.structure.left.items():
        out.print(f"left alone: {name} ({why})", soft_wrap=True)
    for line in (*plan.notes, *(f"problem: {p}" for p in plan.problems)):
        out.print(line, soft_wrap=True)
    totals = plan.totals()
    predicted = ""
    if "seconds" in totals:
        dense, new = (1e3 * totals[key] for key in ("seconds_dense", "seconds"))
        predicted = f"; predicted {dense:.3g} ms dense, {new:.3g} ms converted"
    out.print(
        f"at uniform sizes: core ratio {totals['core_ratio']:.3f}, with encoding and decoding "
        f"{totals['full_ratio']:.3f}, numbers {totals['bytes_ratio']:.3f}{predicted}",
        soft_wrap=True,
    )
