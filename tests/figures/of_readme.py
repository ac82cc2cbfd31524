"""Where the figures of README come from."""

from tests.figures.stored import LARGE, errors_of_sorted, errors_on_layers, gpu_layer, gpu_speedups, speedup

README = "README.md"


def milliseconds_of_the_host():
    """What a small layer takes longer when it is called from Python."""
    found = gpu_layer(1024, "stl48")
    return 1e3 * (found["median_s"] - found["graph"]["median_s"])


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
        r"49 products were ([\d.]+) times as fast as torch's dense product at 4096\^3, "
        r"([\d.]+) times at 2048\^3 and ([\d.]+) times\s+at 8192 x 2048 x 512",
        lambda: tuple(speedup(shape, 49) for shape in LARGE),
    ),
    (
        README,
        r"compiled, frozen models,\s+([\d.]+), ([\d.]+) and (\.\d+) times",
        lambda: tuple(speedup(shape, 49, "packed") for shape in LARGE),
    ),
    (
        README,
        r"rank 48 is ([\d.]+) times as fast as dense at 16384\^3 and\s+(\.\d+) times at 4096\^3",
        lambda: gpu_speedups("stl48"),
    ),
    (README, r"rank 24 is ([\d.]+) and ([\d.]+) times as fast", lambda: gpu_speedups("stl24")),
    (README, r"2:4 ([\d.]+) and ([\d.]+) times; on", lambda: gpu_speedups("2:4")),
    (
        README,
        r"on an H200 rank 48 ([\d.]+) and\s+(\.\d+), rank 24 ([\d.]+) and ([\d.]+), "
        r"2:4 ([\d.]+) and ([\d.]+) times",
        lambda: tuple(f for method in ("stl48", "stl24", "2:4") for f in gpu_speedups(method, "H200")),
    ),
    (README, r"a layer takes the host (\.\d) ms", lambda: (milliseconds_of_the_host(),)),
]
