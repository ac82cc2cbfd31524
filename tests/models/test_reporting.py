"""The pages of a conversion: no picture without anything in it."""

import pytest

from stl_models import ConversionConfig, convert_
from stl_models.reporting import write_report

EXACT = "Every layer is exact: its output differs by rounding only."


def pages(bert, batches, folder, **options):
    report = convert_(bert, ConversionConfig(length=16, repair="never", **options), batches)
    html, markdown = (path.read_text(encoding="utf-8") for path in write_report(report, folder))
    return report, html, markdown


@pytest.mark.slow
def test_where_every_layer_is_exact_a_line_says_so_and_no_picture_of_errors_is_shown(bert, batches, tmp_path):
    report, html, markdown = pages(bert, batches, tmp_path, ratio=1.3, recipes=("exact",))
    assert set(report.errors.values()) == {0.0}
    assert EXACT in html
    assert EXACT in markdown
    assert "exact at every ratio they reach" in html
    assert html.count("<svg") == 1  # the allocation
    assert "Bars: relative output error" not in html


@pytest.mark.slow
def test_where_a_layer_errs_its_error_is_drawn(bert, batches, tmp_path):
    report, html, markdown = pages(bert, batches, tmp_path, ratio=2.0)
    assert max(report.errors.values()) > 0
    assert EXACT not in html + markdown
    assert html.count("<svg") == 3
    assert "Bars: relative output error" in html


@pytest.mark.slow
@pytest.mark.parametrize("missing", [float("nan"), 0.25])
def test_what_was_not_measured_is_not_called_exact(bert, batches, tmp_path, missing):
    report = convert_(
        bert, ConversionConfig(length=16, repair="never", ratio=1.3, recipes=("exact",)), batches
    )
    report.errors[next(iter(report.errors))] = missing
    assert EXACT not in write_report(report, tmp_path)[0].read_text(encoding="utf-8")
