"""Which recipe at which size for every layer: one multiplier over all layers' (cost, loss) curves.

A *region* is layers that some recipe changes together, such as an attention or an MLP. It offers
*alternatives*: nothing or one slicing choice (fewer neurons, fewer values), each with independent curves for
the products that remain. For a multiplier the least loss + multiplier * cost is found for each curve alone;
the multiplier is bisected to the budget, which finds the points on the lower convex hull of all allocations
(docs/theory.md, section 11).

What does not belong here: making the curves' losses (`recipes`, `curves`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stl_algebra.errors import InvalidInput
from stl_models.recipes import Choice


@dataclass(frozen=True)
class Curve:
    """What can be done with some layers' products.

    Attributes:
        names: the layers, one unless their input is shared.
        choices: at least one.
    """

    names: tuple[str, ...]
    choices: tuple[Choice, ...]

    def best(self, multiplier: float) -> tuple[float, Choice]:
        """The least loss + multiplier * cost; the cheaper one of equals."""
        return min(
            ((c.loss + multiplier * c.cost, c) for c in self.choices),
            key=lambda pair: (pair[0], pair[1].cost),
        )


@dataclass(frozen=True)
class Alternative:
    """One way to treat a region.

    Attributes:
        cut: the slicing choice; None for none. Its cost is not counted: the curves' costs are.
        groups: for each group of layers the ways to treat it, each a list of independent curves.
    """

    cut: Choice | None
    groups: tuple[tuple[tuple[Curve, ...], ...], ...]

    def best(self, multiplier: float) -> tuple[float, list[tuple[Curve, Choice]]]:
        """The least loss + multiplier * cost, and what reaches it."""
        total = self.cut.loss if self.cut is not None else 0.0
        chosen: list[tuple[Curve, Choice]] = []
        for ways in self.groups:
            found = []
            for curves in ways:
                picks = [curve.best(multiplier) for curve in curves]
                found.append(
                    (sum(v for v, _ in picks), [(c, p) for c, (_, p) in zip(curves, picks, strict=True)])
                )
            value, picked = min(found, key=lambda pair: pair[0])
            total += value
            chosen += picked
        return total, chosen


@dataclass(frozen=True)
class Region:
    """Layers that are treated together.

    Attributes:
        names: in the order of execution.
        dense: multiplications a row of the dense layers.
        alternatives: at least one.
    """

    names: tuple[str, ...]
    dense: float
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, eq=False)
class Decision:
    """What is done with a region.

    Attributes:
        names: its layers.
        cut: the slicing choice, or None.
        products: for each product or group of products with one input: the layers and the choice.
    """

    names: tuple[str, ...]
    cut: Choice | None
    products: tuple[tuple[tuple[str, ...], Choice], ...]

    @property
    def approximate(self) -> bool:
        """Whether anything but exact tiles is used, so that statistics are needed."""
        return self.cut is not None or any(c.recipe not in ("exact", "keep") for _, c in self.products)

    @property
    def cost(self) -> float:
        """Core multiplications a row."""
        return sum(choice.cost for _, choice in self.products)

    @property
    def loss(self) -> float:
        """Predicted."""
        return sum(c.loss for _, c in self.products) + (self.cut.loss if self.cut is not None else 0.0)

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""

        def choice(c: Choice | None) -> Any:
            if c is None:
                return None
            return {
                "recipe": c.recipe, "parameters": dict(c.parameters), "cost": c.cost, "loss": c.loss
            }  # fmt: skip

        products = [{"names": list(names), **choice(c)} for names, c in self.products]
        return {"names": list(self.names), "cut": choice(self.cut), "products": products}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Decision:
        """Inverse of `as_json`."""

        def choice(c: Any) -> Choice:
            return Choice(c["recipe"], dict(c["parameters"]), c["cost"], c["loss"])

        cut = None if data["cut"] is None else choice(data["cut"])
        return cls(tuple(data["names"]), cut, tuple((tuple(p["names"]), choice(p)) for p in data["products"]))


@dataclass(frozen=True)
class Allocation:
    """The decisions of a whole model.

    Attributes:
        decisions: one a region.
        dense: multiplications a row of all dense layers.
        multiplier: loss a multiplication that the last choices paid for.
        frontier: (core ratio, predicted loss) of other multipliers, for the report.
    """

    decisions: tuple[Decision, ...]
    dense: float
    multiplier: float
    frontier: tuple[tuple[float, float], ...] = field(default_factory=tuple)

    @property
    def cost(self) -> float:
        """Core multiplications a row of all converted layers."""
        return sum(d.cost for d in self.decisions)

    @property
    def ratio(self) -> float:
        """Core ratio."""
        return self.dense / self.cost if self.cost else float("inf")

    @property
    def loss(self) -> float:
        """Predicted, summed."""
        return sum(d.loss for d in self.decisions)


def decide(regions: Sequence[Region], multiplier: float) -> tuple[Decision, ...]:
    """The best decisions for a multiplier."""
    decisions = []
    for region in regions:
        found = [(alternative.best(multiplier), alternative) for alternative in region.alternatives]
        (_, picks), alternative = min(found, key=lambda pair: pair[0][0])
        products = tuple((curve.names, choice) for curve, choice in picks)
        decisions.append(Decision(region.names, alternative.cut, products))
    return tuple(decisions)


def allocate(
    regions: Sequence[Region],
    *,
    ratio: float | None = None,
    loss: float | None = None,
    cost_of: Callable[[tuple[Decision, ...]], float] | None = None,
    budget: float | None = None,
) -> Allocation:
    """Meet a core ratio, a predicted loss, or a budget of any cost.

    Args:
        regions: all of the model.
        ratio: at least this core ratio, with the least loss on the hull.
        loss: the smallest cost whose predicted loss is at most this.
        cost_of: with `budget`: the cost of decisions, such as predicted seconds.
        budget: the most that `cost_of` may be.

    Raises:
        InvalidInput: the target cannot be reached; says what can.
    """
    if not regions:
        raise InvalidInput(
            "model", expected="at least one layer to convert", got="none",
            hint="see the plan for the layers that are left alone and why",
        )  # fmt: skip
    dense = sum(r.dense for r in regions)

    def fits(decisions: tuple[Decision, ...]) -> bool:
        if ratio is not None:
            return dense / sum(d.cost for d in decisions) >= ratio * (1 - 1e-9)
        if loss is not None:
            return sum(d.loss for d in decisions) > loss
        assert cost_of is not None
        assert budget is not None
        return cost_of(decisions) <= budget

    low, high = 1e-30, 1e-30
    while not fits(decide(regions, high)) and high < 1e30:
        low, high = high, high * 100
    reached = decide(regions, high)
    if not fits(reached) and loss is None:
        most = dense / sum(d.cost for d in reached)
        raise InvalidInput(
            "target", expected=f"a core ratio of at most {most:.3g} with these recipes",
            got=f"ratio {ratio}" if ratio is not None else f"budget {budget}",
            hint="allow more recipes",
        )  # fmt: skip
    for _ in range(200):
        middle = (low * high) ** 0.5
        if high / low < 1 + 1e-9:
            break
        if fits(decide(regions, middle)):
            high = middle
        else:
            low = middle
    multiplier = low if loss is not None else high
    decisions = decide(regions, multiplier)
    spread = [decide(regions, multiplier * 10.0 ** (e / 4)) for e in range(-12, 9)]
    frontier = sorted({(dense / sum(d.cost for d in ds), sum(d.loss for d in ds)) for ds in spread})
    return Allocation(decisions, dense, multiplier, tuple(frontier))
