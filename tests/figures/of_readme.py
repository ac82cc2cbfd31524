"""Where the figures of README come from."""

from tests.figures.stored import errors_of_sorted, errors_on_layers, speedup

README = "README.md"

FIGURES = [
    (
        README,
        r"rank 32 errs by (\.\d+) to (\.\d+)",
        lambda: errors_on_layers(lambda r: r["kind"] == "encoders" and r["rank"] == "32"),
    ),
    (
        README,
        r"low rank on exact tiles by (\.\d+) to (\.\d+)",
        lambda: errors_on_layers(lambda r: r["method"] == "low rank on exact tiles" and r["ratio"] == "2.0"),
    ),
    (
        README,
        r"Sorted features bring rank 32 to (\.\d+) there",
        lambda: errors_of_sorted("minilm", "sorted profile", (32,)),
    ),
    (
        README,
        r"took 1 / ([\d.]+) of the dense product's time at 4096\^3",
        lambda: (speedup([4096] * 3),),
    ),
]
