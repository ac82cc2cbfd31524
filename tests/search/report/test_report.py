"""A report from values: what its pages, table and figures say, without a search."""

import csv
import io
import re

import pytest

from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import strassen
from stl_algebra.published import encoders
from stl_search.judging.evaluation import Row
from stl_search.matrices.ensembles import random_pair
from stl_search.report import figures
from stl_search.report.content import collect
from stl_search.report.standing import headline, standings
from stl_search.report.write import scores_csv, winning_group, write_report
from stl_search.study.plan import Settings
from stl_search.study.run_folder import Run

EIGHT = definition(TileFormat(2, 2, 2))
TRIALS = {
    "finished": 3,
    "without_candidate": 1,
    "arms": [
        {"family": "fourier", "group": "D4", "count": 2, "best": 0.1},
        {"family": "known", "group": "", "count": 1, "best": 0.125},
        {"family": "orbits", "group": "S3", "count": 0, "best": None},
    ],
}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run = Run(folder, Settings(("S3",), "2", 6), ("rademacher",), "", "stl-search run <b>&</b>")
    winners = {a.rank: Judged.of(a) for a in (EIGHT, strassen())}
    return collect(run, winners, [random_pair("rademacher", 32)], TRIALS)


def test_the_winner_is_the_nearest_to_the_rank_asked_for(content):
    assert content.chosen.algorithm == strassen()
    assert list(content.winners) == [7, 8]
    rows = content.rows_at("rademacher")
    assert [r.total for r in rows] == sorted(r.total for r in rows)
    assert sum(r.kind == "encoders" for r in rows) == 1
    # A baseline is shown at the ratio nearest to the winner's.
    assert {r.ratio for r in rows if r.method == "SVD of W"} == {8 / 7}


@pytest.mark.slow
def test_every_file_is_written_and_says_the_same(content):
    paths = write_report(content, content.run.folder)
    assert {p.name for p in paths} == {"report.html", "report.md", "scores.csv", "frontier.png"}
    html, markdown = paths[0].read_text(), paths[1].read_text()
    total = f"{content.chosen.scores.total('bf16'):.2e}"
    for page in (html, markdown):
        assert total in page
        assert "exact over Z" in page
        assert "2:4 SparseGPT" in page
    # What a command line holds is text, not markup.
    assert "<b>&</b>" not in html.split("</script>")[-1]
    assert "&lt;b&gt;&amp;" in html
    assert paths[3].read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_page_says_where_the_winner_stands_and_what_had_no_trial(content):
    rows = [r for r in content.rows if r.ratio >= 8 / 7 or r.kind == "baseline"]
    better = {r.method for r in rows if r.kind == "baseline" and r.total < content.standing[0].encoders.total}
    assert content.standing[0].encoders.rank == 7
    assert content.standing[0].place == 1 + len(better)
    assert f"{content.standing[0].place} of {content.standing[0].of} on rademacher" in content.headline
    assert content.untried == ["S3"]
    for page in write_report(content, content.run.folder)[:2]:
        text = page.read_text()
        assert content.headline in text
        assert "No trial of S3" in text
        assert "+25%" in text


@pytest.mark.slow
def test_an_approximate_winner_is_called_so_and_nothing_else(content, tmp_path):
    approximate = Judged.of(encoders("4", 32))
    assert "rational" in approximate.verification.message
    run = Run(tmp_path, Settings((), "4", 32), (), "", "command")
    alone = collect(run, {32: approximate}, [], TRIALS)
    assert alone.exactness == "approximate"
    for page in write_report(alone, tmp_path)[:2]:
        assert "rational" not in page.read_text().split("</script>")[-1]
    assert alone.headline == ""


def test_places_count_what_saves_as_much():
    def row(method, ratio, total, rank=0):
        kind = "encoders" if rank else "baseline"
        return Row(method, kind, "", rank, ratio, "m", total, total, 0.0, 0.0, total)

    rows = [
        row("ours", 2.0, 0.3, 32), row("ours", 4.0, 0.6, 16), row("2:4", 2.0, 0.1), row("svd", 1.99, 0.2),
        row("svd", 4.0, 0.5), row("count", 4.0, 0.7), row("half", 1.5, 0.0),
    ]  # fmt: skip
    two, four = standings(rows, [2.0, 4.0])
    assert [r.method for r in two.baselines] == ["2:4", "svd", "count"]
    assert (two.place, two.of, two.encoders.rank) == (3, 4, 32)
    assert (four.place, four.of, four.encoders.rank) == (2, 3, 16)
    assert headline([four]).endswith("2 of 3 on m. Ahead of all: svd (1 of 1).")
    alone = standings([r for r in rows if r.method in ("ours", "count")], [4.0])
    assert headline(alone).endswith("1 of 2 on m. None has a smaller error.")
    assert headline([]) == ""


def test_the_table_has_a_line_for_every_error_and_every_winner(content):
    rows = list(csv.DictReader(io.StringIO(scores_csv(content))))
    assert len(rows) == len(content.rows) + len(content.winners)
    closed = {r["rank"]: float(r["total"]) for r in rows if r["matrices"] == "white (closed form)"}
    assert closed == {str(k): w.scores.total("bf16") for k, w in content.winners.items()}


def test_the_group_is_the_winners_else_that_of_the_best_trial(content):
    assert winning_group(content).name == "D4"
    winner = Judged.of(strassen().renamed("s", Provenance(groups=("S3",))))
    other = type(content)(**{**vars(content), "chosen": winner})
    assert winning_group(other).name == "S3"
    none = type(content)(**{**vars(content), "trials": {**TRIALS, "arms": []}})
    assert winning_group(none) is None


@pytest.mark.slow
def test_figures_hold_the_numbers_of_the_table(content):
    white = figures.frontier_series(content, "")
    assert [p[0] for p in white["this run"]] == sorted(8 / r for r in (7, 8))
    assert all(0 < error < 1 for _, error, _ in white["column-row uniform"])
    measured = figures.frontier_series(content, "rademacher")
    assert set(measured) > {"this run", "2:4 magnitude", "gaussian sketch"}
    drawn = figures.frontier_figure(content)
    assert len(drawn.data) == len(white) + len(measured)
    assert len(drawn.layout.updatemenus[0].buttons) == 2
    heat = figures.factors_figure(encoders("4", 16))
    assert [trace.z.shape for trace in heat.data] == [(16, 16)] * 3


@pytest.mark.slow
def test_without_pairs_only_closed_forms_are_shown(content, tmp_path):
    run = Run(tmp_path, content.run.settings, (), "", "command")
    alone = collect(run, content.winners, [], TRIALS)
    page = write_report(alone, tmp_path)[1].read_text()
    assert not re.search(r"^## On ", page, re.MULTILINE)
    assert scores_csv(alone).count("white (closed form)") == 2
