"""What README and the site say of measurements without a figure ("slower") holds in the results."""

import pytest

from stl_kernels import common_gpus, predict
from tests.figures.of_numerics import sketched_by_aspect
from tests.figures.pages import places
from tests.figures.stored import GPUS, gpu_layer, gpu_speedups, results, speedup, stored


def says(page, words):
    """The words are on the page, once."""
    return len(places(page, words)) == 1


def meet(one, other):
    summary = stored("training/cifar10.json")["summary"]
    (low, high), (least, most) = (summary[arm]["interval_of_seeds"] for arm in (one, other))
    return low <= most and least <= high


def test_what_the_page_on_training_says_of_intervals_holds():
    for other in ("dense", "narrow, core of 24", "narrow, everything of 24"):
        assert not meet("stl 24", other)
    assert meet("dense", "stl 49, along weights")
    assert meet("dense", "stl 49")


def test_what_the_page_on_training_says_without_figures_holds():
    page, summary = "docs/training.md", stored("training/cifar10.json")["summary"]
    assert says(page, "with three times the parameters")
    assert round(summary["stl 49"]["parameters"] / summary["dense"]["parameters"]) == 3
    assert says(page, "It beats Adam by more than a hundred times")
    last = stored("training/heads.json")["last layer"]
    assert last["least squares"]["squared_error"] < last["Adam, 100 times the seconds"]["squared_error"]
    assert says(
        page, r"Weights that are only encoded at r = 24 or 40 start ruined and are far from recovered"
    )
    found = {one["arm"]: one for one in stored("training/fine-tuning.json")["summary"]}
    for arm in ("STL, r=24", "STL, r=40"):
        assert found[arm]["before"] > found[arm]["after"] > 10 * found["2:4, Wanda's mask"]["after"]


def test_where_the_texts_say_slower_it_is():
    assert says(
        "README.md", "MiniLM is slower than its dense form and SmolLM2 hardly faster, as the\\s+plan had said"
    )
    assert says("docs/benchmarks.md", "MiniLM is slower and SmolLM2 hardly faster, and the plan says so")
    times = results("models/time.json")
    slower, hardly = times["time of minilm-2x"], times["time of smollm2-135m-2x"]
    assert slower["measured_speedup"] < 1 < hardly["measured_speedup"] < 1.1
    for entry, least, most in ((slower, 0.0, 1.0), (hardly, 1.0, 1.1)):
        planned = entry["predicted_of_layers"]
        assert least < planned["seconds_dense"] / planned["seconds"] < most


def test_what_is_said_of_widths_on_a_processor_holds():
    assert says("docs/will-it-help.md", "Below widths of about a thousand exact tiles save nothing")
    assert speedup([1024] * 3, beside="packed") < 1
    assert says("docs/will-it-help.md", "all three sides 2,048 and more \\| yes")
    assert min(speedup([2048] * 3), speedup([4096] * 3, 49)) > 1
    assert says("docs/will-it-help.md", "where the dense weights are packed too, only from 4,096 on")
    assert speedup([2048] * 3, 49, "packed") < 1.05 < speedup([4096] * 3, 49, "packed")


def test_what_the_picture_of_whole_models_is_said_to_show_it_shows():
    assert says("docs/benchmarks.md", "compressed layers on exact tiles are better than 2:4 sparsity at half")
    for path, figure, ours, theirs in (
        ("models/causal.json", "perplexity", "structured at 2.0", "2:4-sparsegpt at 2.0"),
        ("models/encoder.json", "cosine", "pivoted-low-rank at 2.0", "2:4-refit at 2.0"),
    ):
        one, other = (results(path)[f"{name}, repair held-out"][figure] for name in (ours, theirs))
        assert one < other if figure == "perplexity" else one > other


def test_exact_tiles_gain_on_some_gpus_and_lose_on_others():
    assert says("docs/will-it-help.md", "exact tiles gain on some GPUs and lose on others")
    speedups = [predict((16384, 8192, 8192), "4x4x4-r48", "bfloat16", gpu).speedup for gpu in common_gpus()]
    assert min(speedups) < 1 < max(speedups) < 4 / 3


def test_what_is_said_of_an_h100_is_in_its_results():
    assert says("docs/will-it-help.md", "on an H100 they gained at 16,384 and broke even at 8,192")
    assert gpu_layer(16384, "stl48")["graph_speedup"] > 1.05
    assert gpu_layer(8192, "stl48")["graph_speedup"] == pytest.approx(1, abs=0.05)
    assert says("docs/will-it-help.md", "24 products a tile or fewer \\| yes on an H100, and faster than 2:4")
    for method in ("stl16", "stl24"):
        assert gpu_speedups(method)[1] > max(1, gpu_speedups("2:4")[1])


@pytest.mark.parametrize("card", GPUS)
def test_what_is_said_of_both_cards_is_in_their_results(card):
    entries = results(GPUS[card])
    assert card in stored(GPUS[card])["device"]
    assert says("docs/benchmarks.md", "64 rows are in the files?: slower than dense at every rank")
    assert all(
        e["graph_speedup"] < 1 for e in entries if e["shape"][0] == 64 and e["method"].startswith("stl")
    )
    assert says("docs/benchmarks.md", "Core and decode in one kernel never paid")
    times = {(*e["shape"], e["method"]): e["graph"]["median_s"] for e in entries}
    assert all(times[*k[:3], k[3][: -len(" fused")]] < t for k, t in times.items() if k[3].endswith(" fused"))
    assert says("docs/benchmarks.md", "is within an eighth of these speeds")
    assert all(
        abs(e["predicted_over_graph_speedup"] - 1) < 1 / 8
        for e in entries
        if "predicted_speedup" in e and e["shape"][0] >= 4096 and min(e["shape"]) >= 1024
    )


def test_core_and_decode_in_one_kernel_never_paid():
    assert says("docs/benchmarks.md", "Core and decode in one kernel never paid")
    times = {(*e["shape"], e["method"]): e["graph"]["median_s"] for e in results("gpu/one-kernel.json")}
    pairs = [(time, times[*key[:3], f"{key[3]} fused"]) for key, time in times.items() if key[3][-1] != "d"]
    assert len(pairs) == 4 * 41
    assert all(two < one for two, one in pairs)


def test_the_start_takes_at_most_the_time_in_its_title():
    assert says("docs/start.md", "# Ten minutes")
    # Not far less either: the time differs from run to run, as downloads do.
    assert 5 < results("newcomer.json")["total"] / 60 <= 10


def test_what_the_pages_on_numerics_say_without_figures_holds():
    assert says("docs/dynamic-least-squares.md", "At d = 64 sampling is no faster than exact")
    narrow = results("numerics/dls.json")["seconds_per_row"][0]
    assert narrow["d"] == 64
    assert narrow["sampled"] >= narrow["gram"]
    assert says("docs/gauss-newton.md", "Structured is still the fastest at every n here")
    for row in results("numerics/gauss-newton.json")["table"]:
        assert row["structured"]["seconds"] < min(row[name]["seconds"] for name in ("sketched", "dense"))
    assert says("docs/gauss-newton.md", "as long as the explicit Gram matrix at aspect ratio 4")
    assert 0.9 < sketched_by_aspect()[4] < 1.1


def test_what_the_page_on_machines_says_without_figures_holds():
    assert says("docs/machines.md", "renewals, results and progress are within a fifth of each other")
    operations = results("search/queue.json")["operations"]
    assert all(operations[name]["ratio"] < 1.2 for name in ("renew", "finish", "progress"))
    drill = results("search/drill.json")
    assert drill["lost_or_changed_between_kills"] == drill["counted_more_than_once"] == 0
    assert drill["seconds_away"] == 60
