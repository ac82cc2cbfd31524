"""Schemas of what is said of layers and models: captures, conversions, training, times."""

from __future__ import annotations

from stl_search.cli.schemas.terms import (
    Schema,
    boolean,
    by,
    either,
    integer,
    many,
    maybe,
    number,
    record,
    text,
)

_NAMES = many(text(), "Of layers.")
_TIME = record(
    "Measured.",
    median_s=number("Seconds."),
    min_s=number("Seconds."),
    max_s=number("Seconds."),
    rounds=integer("That these are of."),
)
_SHARES = many(number(), "Of variance, in falling order.")

_CONFIG = record(
    "What was asked for; the fields of stl_models.ConversionConfig.",
    version=integer("Of this record."),
    ratio=maybe(number("Core multiplications, dense over new.")),
    loss=maybe(number("Or the loss allowed.")),
    seconds=maybe(number("Or the predicted time.")),
    recipes=many(text(), "Allowed."),
    skip=many(text(), "Patterns of layers left alone."),
    overrides=many(record("Of layers.", pattern=text("Of names."), recipes=many(text(), "Allowed."))),
    outside_blocks=boolean("Heads and poolers too."),
    tile=text("Of exact tiles."),
    tiles=text("When."),
    encoders=text('File for approximate tiles, or "".'),
    row_grouping=text("Rows of a tile."),
    dtype=text('Of converted layers; "" for the model\'s.'),
    sensitivity=text("How layers are weighed."),
    objective=text("What is kept."),
    sensitivity_rows=integer("Tokens for it."),
    repair=text("When blocks are repaired."),
    held_out=number("Share of batches that repair is judged on."),
    distillation=integer("Gradient steps at most."),
    device=text("Of predicted times."),
    batch=integer("Of predicted times."),
    length=integer("Tokens a window."),
    seed=integer("Of all that is drawn."),
)

_PLAN = {
    "config": _CONFIG,
    "rows": many(
        record(
            "A layer.",
            name=text("Of it."),
            shape=many(integer(), "K, M.", 2),
            recipes=by("recipe", number(), "Core multiplications a row."),
            dense=number("Multiplications a row."),
            core=number("Likewise, of the core."),
            everything=number("Likewise, with encoding and decoding."),
            bytes=many(number(), "Dense and converted.", 2),
            seconds=maybe(many(number(), "Dense and converted, predicted.", 2)),
            verdict=text("What happens to it, and why."),
        )
    ),
    "left": by("layer", text(), "Why it is left alone."),
    "problems": many(text(), "Nothing is converted while there are any."),
    "notes": many(text(), "What one should know."),
    "totals": record(
        "Over the layers.",
        dense=number("Multiplications a row."),
        core=number("Likewise."),
        everything=number("Likewise."),
        bytes_dense=number("Of weights."),
        bytes=number("Of weights."),
        core_ratio=number("Dense over core."),
        full_ratio=number("Dense over everything."),
        bytes_ratio=number("Dense over converted."),
        optional={"seconds_dense": number("Predicted."), "seconds": number("Predicted.")},
    ),
}

_CHOICE = {
    "recipe": text("Its name."),
    "parameters": by("name", {"type": ["number", "string", "boolean", "array", "null"]}, "Of the recipe."),
    "cost": number("Core multiplications a row."),
    "loss": number("Predicted."),
}

_CONVERTED = record(
    "What a conversion did.",
    folder=text("Of the converted model."),
    report=text("Page to open in a browser."),
    version=text("Of stl-algebra."),
    torch=text("Its version."),
    config=_CONFIG,
    plan=record("As made before.", **_PLAN),
    decisions=many(
        record(
            "For layers that are decided on together.",
            names=_NAMES,
            cut=maybe(record("The slicing choice.", **_CHOICE)),
            products=many(record("For products with one input.", names=_NAMES, **_CHOICE)),
        )
    ),
    frontier=many(many(number(), "Ratio and predicted loss.", 2)),
    predicted_loss=number("Of what was chosen."),
    errors=by("layer", maybe(number()), "Relative output error on calibration rows."),
    blocks=by(
        "block",
        record(
            "What was measured.",
            repaired=boolean("Whether repair was kept."),
            held_out_error=by("way", maybe(number()), "On held-out rows."),
            seconds=number("It took."),
            expected_seconds=maybe(number("It was expected to take.")),
        ),
    ),
    ratios=by(
        "name", number(), "Dense over converted (core, everything, bytes), and the counts they are from."
    ),
    rows=integer("Of calibration."),
    seconds=number("It took."),
    notes=many(text(), "What one should know."),
    measured=by("metric", maybe(number()), "With --evaluate."),
    distillation=record(
        "With --distil; else empty.",
        optional={
            "steps": integer("Taken."),
            "before": maybe(number("Held-out loss.")),
            "after": maybe(number("Held-out loss.")),
        },
    ),
    peers=many(
        by("column", {"type": ["number", "string", "null"]}),
        "With --evaluate, a row a method: method, core, error and the metric, or why it does not apply.",
    ),
    times=by("model", _TIME, "With --evaluate."),
)

_RATES = record(
    "Of the optimiser.",
    lr=number("Of weights."),
    encoded_lr=maybe(number("Of encoded weights; null for one with steps as long.")),
    factor_lr=maybe(number("Of trained factors; null for lr.")),
    weight_decay=number("Of weights."),
    factor_decay=number("Of factors."),
    decay=text("What decay of encoded weights means."),
)
_STEP = {
    "step": integer("So many are done."),
    "loss": maybe(number("Of training; null where it is not finite.")),
    "rate": number("Share of the rates."),
    "seconds": number("Of steps so far."),
}
_COUNTS = record(
    "Multiplications an image.",
    core=integer("Of linear layers."),
    moved=integer("Encoding and decoding."),
    other=integer("Of the rest."),
    parameters=integer("Numbers."),
    everything=integer("All of them."),
)

SCHEMAS: dict[str, Schema] = {
    "capture": record(
        "What was captured.",
        path=text("File."),
        layers=many(
            record(
                "A layer.",
                name=text("Of it."),
                inner=integer("K."),
                outer=integer("M."),
                rows=integer("Test rows, and as many for calibration."),
                moment_rows=integer("That moments are from."),
                calls=number("A window."),
                dtypes=many(text(), "Of x, calibration and w.", 3),
                notes=many(text(), "What one should know."),
            )
        ),
        skipped=by("layer", text(), "Why."),
    ),
    "profile": record(
        "How the variance of sorted features is spread.",
        profile=_SHARES,
        layers=by("layer", _SHARES),
        beside=by("layer", _SHARES, "Not in the mean."),
        command=text("That measured it."),
    ),
    "convert": either("By options.", record("With --plan-only.", **_PLAN), _CONVERTED),
    "train lm": record(
        "What training ended with.",
        folder=text("Of the run."),
        recipe=record(
            "How.",
            method=text("What is trained."),
            rank=integer("Of encoders or LoRA."),
            factors=text("Frozen, a layer's, or shared."),
            loss=text("next-token or distillation."),
            steps=integer("Of the optimiser."),
            batch=integer("Windows a step."),
            rates=_RATES,
            warmup=integer("Steps."),
            judge_every=integer("Steps."),
            seed=integer("Of all that is drawn."),
            autocast=boolean("Products in bfloat16."),
        ),
        trained=integer("Numbers."),
        before=maybe(number("Perplexity.")),
        rows=many(
            record("A judgement.", **_STEP, perplexity=maybe(number("Held out.")), tokens=integer("Read."))
        ),
        dense=maybe(number("Perplexity of the dense model; null where there is none.")),
    ),
    "train vision": record(
        "What training ended with.",
        folder=text("Of the run."),
        recipe=record(
            "How.",
            model=text("Its name."),
            tokens=text("Attention between the soft splits."),
            linear=text("Linear layers."),
            rank=integer("Of encoders."),
            encoders=text('A name or file, or "".'),
            options=record(
                "Of replaced layers.",
                initialisation=text("Of encoded weights."),
                factors=text("Frozen, a layer's, or shared."),
                gradient=text("Of encoded weights or of the map."),
                skip=many(text(), "Patterns of layers left dense."),
                layer=record(
                    "Of every layer.",
                    row_grouping=text("Rows of a tile."),
                    batch_axis=integer("Of inputs."),
                    tiling=text("Features of a tile."),
                    permutation=maybe(many(integer(), "Of features.")),
                    fused=maybe(boolean("One kernel.")),
                    backend=text("Of the ops."),
                    trainable_factors=boolean("Whether factors are parameters."),
                ),
            ),
            matched=text("What controls have the same of."),
            epochs=integer("All."),
            batch=integer("Images a step."),
            rates=_RATES,
            warmup=number("Epochs."),
            smoothing=number("Of labels."),
            mixup=number("Alpha."),
            average=number("Decay of averaged weights."),
            judge_every=integer("Epochs."),
            seed=integer("Of all that is drawn."),
            autocast=boolean("Products in bfloat16."),
            compiled=boolean("Through torch.compile."),
        ),
        multiplications=record(
            "An image.",
            dense=_COUNTS,
            model=_COUNTS,
            ratios=record("Dense over this.", core=number("Of linear layers."), everything=number("Of all.")),
            width=integer("Of the model."),
        ),
        rows=many(
            record("A judgement.", **_STEP, accuracy=number("Share."), test_loss=maybe(number("Entropy.")))
        ),
        optional={
            "accuracy": number("At the end: share of test images; this and the next with any judgement."),
            "interval": many(number(), "95% of it.", 2),
            "test_images": integer("Judged on."),
            "train_images": integer("Trained on."),
            "seconds_an_epoch": number("On average."),
        },
    ),
    "bench layer": many(
        record(
            "A shape.",
            shape=many(integer(), "N, K, M.", 3),
            rank=integer("Products per tile triple."),
            tile=text("Format."),
            dtype=text("Of the layer."),
            tiling=text("Features of a tile."),
            error=number("To the same layer in float64."),
            dense=_TIME,
            stl=_TIME,
            speedup=number("Measured, dense over STL."),
            predicted_stl_s=number("Seconds."),
            predicted_dense_s=number("Seconds."),
            predicted_speedup=number("Their quotient."),
            predicted_over_measured_speedup=number("A quotient."),
            predicted_over_measured_stl_s=number("A quotient."),
            verdict=text("Of the prediction."),
            costs=record(
                "Ratios to the dense product.",
                core=number("Fewer multiplications of the core."),
                all=number("Likewise, with encoding and decoding."),
                weights=number("Numbers of encoded weights over dense ones."),
                numbers=integer("Of encoded weights."),
            ),
            neighbour_dependence=number("How far a row moves when its tile's others are replaced."),
        ),
        "Times of a layer beside the dense product.",
    ),
}
