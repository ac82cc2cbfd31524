"""What a conversion will do, from shapes alone and in seconds: before any text is read through the model.

For every layer: its shape, the recipes that apply with their size at the wanted ratio, multiplications (core,
and with encoding and decoding), bytes, predicted times, whether it is converted and why. Problems are named
here, with the layer's name, and not after minutes of work.

What does not belong here: statistics, losses, choosing between recipes (`allocate`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.dyadic import companion
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.precision import BYTES
from stl_kernels.device.peaks import Peaks
from stl_kernels.layers.functional import as_algorithm
from stl_kernels.speed.prediction import predict, resolve_peaks
from stl_models.planning.config import ConversionConfig
from stl_models.planning.links import Links, find_links
from stl_models.planning.regions import allowed_recipes
from stl_models.recipes import Engine, Shape, get_recipe
from stl_models.structure.modules import Structure, find_structure
from stl_models.structure.tracing import Batch, at_rest, called, small


@dataclass(frozen=True)
class PlanRow:
    """One layer.

    Attributes:
        name, shape: (K, M).
        recipes: recipe to core multiplications a row at the largest size within the wanted ratio; recipes for
            several layers stand with the first of them.
        dense: multiplications a row of the dense layer.
        core, everything: of the recipe named in `verdict`: core, and with encoding and decoding.
        bytes: (dense, converted) weights.
        seconds: (dense, converted), predicted; None where the device's rates are not known.
        verdict: what happens to the layer and why.
    """

    name: str
    shape: tuple[int, int]
    recipes: dict[str, float]
    dense: float
    core: float
    everything: float
    bytes: tuple[float, float]
    seconds: tuple[float, float] | None
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.__dict__, "shape": list(self.shape), "bytes": list(self.bytes),
                "seconds": None if self.seconds is None else list(self.seconds)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plan:
    """The plan of a conversion.

    Attributes:
        config: what was asked for.
        structure, links: what was found.
        rows: one a layer that may be converted.
        problems: sentences that name a layer; nothing is converted while there are any.
        notes: what a user should know and need not mend.
        chained: whether blocks can be converted one after the other.
    """

    config: ConversionConfig
    structure: Structure
    links: Links
    rows: tuple[PlanRow, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    chained: bool = False

    def totals(self) -> dict[str, float]:
        """Sums over the layers, and their three ratios."""
        dense = sum(r.dense for r in self.rows)
        core, everything = sum(r.core for r in self.rows), sum(r.everything for r in self.rows)
        before, after = sum(r.bytes[0] for r in self.rows), sum(r.bytes[1] for r in self.rows)
        found = {
            "dense": dense, "core": core, "everything": everything, "bytes_dense": before, "bytes": after,
            "core_ratio": dense / max(core, 1e-300), "full_ratio": dense / max(everything, 1e-300),
            "bytes_ratio": before / max(after, 1e-300),
        }  # fmt: skip
        times = [r.seconds for r in self.rows if r.seconds is not None]
        if times:
            found |= {"seconds_dense": sum(t[0] for t in times), "seconds": sum(t[1] for t in times)}
        return found

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json` and for plan.json."""
        return {
            "config": self.config.as_json(),
            "rows": [r.as_json() for r in self.rows],
            "left": self.structure.left,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "totals": self.totals(),
        }


def make_plan(model: nn.Module, config: ConversionConfig, example: Batch | None = None) -> Plan:
    """Read a model's structure, run it once on a few tokens, and count.

    Args:
        model: any module.
        config: what is wanted.
        example: a batch that the model can be called with, for which layer feeds which; None: layers are
            treated on their own.

    Raises:
        InvalidInput: the model cannot be called with the example, or its device's peaks are asked for by a
            name that does not exist.
    """
    structure = find_structure(model, config.skip, everything=config.outside_blocks)
    notes: list[str] = []
    problems = [f"{name}: {why}" for name, why in structure.problems.items()]
    links, chained = Links(tuple(structure.linears), tuple((n,) for n in structure.linears)), False
    share = structure.share_of_others()
    if share >= 0.01:
        largest = max(structure.others, key=lambda name: structure.others[name])
        notes.append(
            f"{share:.0%} of the weights are in no linear layer and stay as they are: {largest}, ..."
        )
    if example is None:
        notes.append("no example was given: layers are planned on their own")
    elif structure.linears and not problems:
        structure, links, chained, more = find_links(model, structure, small(example))
        # A window may be longer than the model's positions.
        with at_rest(model):
            called(model, small(example, 1, None), "give shorter windows")
        notes += more
    if not links.order and not problems:
        left = "; ".join(f"{n}: {w}" for n, w in list(structure.left.items())[:3])
        problems.append(f"model: no linear layer to convert{f' ({left})' if left else ''}")
    engine, peaks, why = make_engine(model, config)
    notes += [why] if why else []
    rows = tuple(_row(name, structure.linears[name], links, config, (engine, peaks)) for name in links.order)
    return Plan(config, structure, links, rows, tuple(problems), tuple(notes), chained)


def make_engine(model: nn.Module, config: ConversionConfig) -> tuple[Engine, Peaks | None, str]:
    """What products run on, the device's peaks, and a note where there are none."""
    exact: BilinearAlgorithm | None = None
    if config.tile and config.tiles != "never":
        # Only floating-point arithmetic follows: bases that amplify its errors less.
        exact = companion(exact_algorithm(TileFormat.parse(config.tile)))
    approximate = as_algorithm(config.encoders) if config.encoders else None
    note = ""
    peaks: Peaks | None = None
    try:
        peaks = resolve_peaks(config.device)
    except InvalidInput as error:
        if config.device.lower() not in ("cpu", "cuda"):
            raise
        note = f"no times are predicted: the peaks of {config.device!r} were not measured"
        if config.tiles == "where-faster" or config.seconds is not None:
            raise InvalidInput(
                "device", expected="a device whose speed is known", got=repr(config.device),
                hint="measure it with `stl-search bench peaks`",
            ) from error  # fmt: skip
    dtype = config.dtype or model_dtype(model)
    pays = None
    if config.tiles == "where-faster" and peaks is not None and exact is not None:
        chosen, algorithm = peaks, exact

        def faster(k: int, m: int) -> bool:
            rows = config.batch * config.length
            return predict((rows, k, m), algorithm, dtype, chosen, tiling="strided").speedup > 1

        pays = faster
    if peaks is not None and dtype not in peaks.flops:
        peaks, note = None, f"no times are predicted: the peaks of {config.device!r} hold none for {dtype}"
    return Engine(exact, approximate, pays), peaks, note


def model_dtype(model: nn.Module) -> str:
    """Torch's name of the dtype of the model's floating parameters."""
    for p in model.parameters():
        if p.is_floating_point():
            return str(p.dtype).removeprefix("torch.")
    return "float32"


def _row(
    name: str,
    size: tuple[int, int],
    links: Links,
    config: ConversionConfig,
    on: tuple[Engine, Peaks | None],
) -> PlanRow:
    engine, peaks = on
    k, m = size
    dense = float(k * m)
    ratio = config.ratio or 1.0
    shape = Shape("linear", (size,))
    offers: dict[str, float] = {}
    parts: dict[str, list[tuple[int, int]]] = {}
    for recipe_name in allowed_recipes(config, name):
        recipe = get_recipe(recipe_name)
        if recipe.kind != "linear":
            if _applies(recipe.kind, name, links):
                offers[recipe_name] = dense / ratio
            continue
        sizes = recipe.sizes(shape, engine)
        within = [pair for pair in sizes if pair[1] <= dense / ratio * (1 + 1e-9)] or sizes[:1]
        if within:
            parameters, offers[recipe_name] = max(within, key=lambda pair: pair[1])
            parts[recipe_name] = recipe.parts(shape, parameters)
    reaching = [n for n in parts if offers[n] <= dense / ratio * (1 + 1e-9)]
    chosen = reaching[0] if reaching else min(parts, key=lambda n: offers[n], default="")
    core = offers.get(chosen, dense)
    everything, held, times, tiled = _totals(parts.get(chosen, [size]), config, on)
    if not chosen:
        verdict = "keep: no recipe is allowed"
    elif core >= dense:
        verdict = "keep: no recipe saves multiplications at this size"
    else:
        where = "on tiles" if tiled else "dense: tiles do not pay at this size"
        verdict = f"convert: {chosen}, {where}"
    item = BYTES.get(config.dtype or "float32", 4)
    seconds = None
    if peaks is not None and times is not None:
        seconds = (_dense_seconds(k, m, config, on), times)
    return PlanRow(name, size, offers, dense, core, everything, (dense * item, held * item), seconds, verdict)


def _applies(kind: str, name: str, links: Links) -> bool:
    if kind == "shared":
        return any(len(g) > 1 and g[0] == name for g in links.inputs)
    if kind == "neurons":
        return any(n.producers[0] == name for n in links.neurons)
    return any(v.value == name for v in links.values)


def _totals(
    parts: list[tuple[int, int]], config: ConversionConfig, on: tuple[Engine, Peaks | None]
) -> tuple[float, float, float | None, bool]:
    """Multiplications with encoding and decoding, numbers held, seconds, whether any part is on tiles."""
    engine, peaks = on
    everything = held = 0.0
    seconds: float | None = 0.0 if peaks is not None else None
    tiled = False
    for k, m in parts:
        one = product_totals(k, m, engine)
        everything, held = everything + one[0], held + one[1]
        tiled = tiled or engine.uses_tiles(k, m)
        if seconds is not None:
            seconds += product_seconds((k, m), config, on)
    return everything, held, seconds, tiled


def product_totals(k: int, m: int, engine: Engine) -> tuple[float, float]:
    """Multiplications a row with encoding and decoding by dense factors, and numbers held, of one product."""
    if engine.exact is None or not engine.uses_tiles(k, m):
        return float(k * m), float(k * m)
    tile, rank = engine.exact.tile, engine.exact.rank
    tiles_k, tiles_m = -(-k // tile.k), -(-m // tile.m)
    coding = rank * (tile.k * tiles_k + tile.m * tiles_m)
    return engine.cost(k, m) + coding, float(rank * tiles_k * tiles_m)


def product_seconds(
    size: tuple[int, int], config: ConversionConfig, on: tuple[Engine, Peaks | None]
) -> float:
    """Predicted seconds of one product at the user's batch and length."""
    engine, peaks = on
    assert peaks is not None
    shape = (config.batch * config.length, *size)
    dtype = (
        config.dtype or next(iter(peaks.flops)) if "float32" not in peaks.flops else config.dtype or "float32"
    )
    if engine.exact is None or not engine.uses_tiles(*size):
        return _dense_seconds(*size, config, on)
    return predict(shape, engine.exact, dtype, peaks, tiling="strided").total


def _dense_seconds(k: int, m: int, config: ConversionConfig, on: tuple[Engine, Peaks | None]) -> float:
    engine, peaks = on
    assert peaks is not None
    reference = engine.exact or exact_algorithm(TileFormat(2, 2, 2))
    shape = (config.batch * config.length, k, m)
    dtype = config.dtype or ("float32" if "float32" in peaks.flops else next(iter(peaks.flops)))
    return predict(shape, reference, dtype, peaks, tiling="strided").dense
