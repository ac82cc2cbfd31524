"""Pages that people read, in a browser: axe finds nothing serious, and no page is wider than its window.

`make accessibility` runs this over the whole site as well. Without a browser or the dev extra it is skipped.
"""

import shutil
from pathlib import Path

import pytest
import torch

from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import strassen
from stl_algebra.groups import parse_group
from stl_search.matrices.ensembles import random_pair
from stl_search.pictures.cayley import save_picture
from stl_search.report.content import collect
from stl_search.report.write import write_report
from stl_search.study.plan import Settings
from stl_search.study.run_folder import Run

SITE = Path(__file__).parents[1] / "docs" / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Width and height of a desktop's window and of a phone's.
WINDOWS = {"desktop": (1280, 900), "phone": (390, 844)}
#: Milliseconds; a machine may have other work.
PATIENCE = 240_000
#: Of axe's four impacts.
SERIOUS = {"serious", "critical"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the dev extra drives the browser")
    pytest.importorskip("axe_playwright_python", reason="the dev extra has axe")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        opened = driver.chromium.launch(executable_path=found, args=options, timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def search_report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    command = (
        "stl-search run --group S3 --tile 2 --rank 7 --out a/folder/whose/name/is/longer/than/a/phone/is/wide"
    )
    run = Run(folder, Settings(("S3",), "2", 7), ("rademacher",), "", command)
    winners = {a.rank: Judged.of(a) for a in (definition(TileFormat(2, 2, 2)), strassen())}
    arms = [{"family": "fourier", "group": "S3", "count": 2, "best": 0.1}]
    trials = {"finished": 2, "without_candidate": 0, "arms": arms}
    content = collect(run, winners, [random_pair("rademacher", 32)], trials)
    return write_report(content, folder)[0]


@pytest.fixture(scope="module")
def conversion_report(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    from stl_models import ConversionConfig, convert_
    from stl_models.reporting.write import write_report as write_conversion

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    batches = [{"input_ids": torch.randint(0, 20, (8, 16))} for _ in range(2)]
    report = convert_(transformers.BertModel(config).eval(), ConversionConfig(ratio=1.6), batches)
    return write_conversion(report, tmp_path_factory.mktemp("converted"), "stl-search convert model")[0]


@pytest.fixture(scope="module")
def cayley_page(tmp_path_factory):
    return save_picture(parse_group("S3"), tmp_path_factory.mktemp("group") / "s3.html")


def findings(browser, page, window, scheme="light"):
    """Serious findings of axe as lines, and one for a page that is wider than its window."""
    from axe_playwright_python.sync_playwright import Axe

    width, height = WINDOWS[window]
    tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        tab.goto(page.as_uri(), timeout=PATIENCE)
        found = Axe().run(tab, options={"resultTypes": ["violations"]}).response["violations"]
        lines = [
            f"{page.name}, {window}, {scheme}: {rule['id']} ({rule['impact']}): {node['html'][:200]}"
            for rule in found
            if rule["impact"] in SERIOUS
            for node in rule["nodes"]
        ]
        beyond = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if beyond > 0:
            lines.append(f"{page.name}, {window}: {beyond} pixels wider than the window")
        return lines
    finally:
        tab.close()


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("page", ["search_report", "conversion_report", "cayley_page"])
def test_pages_that_commands_write(browser, request, page, window):
    assert not findings(browser, request.getfixturevalue(page), window)


def test_what_is_wrong_is_found(browser, tmp_path):
    """Were axe not there or the width not measured, the tests above would hold for nothing."""
    page = tmp_path / "bad.html"
    page.write_text('<html lang="en"><title>Bad</title><img src="a.png"><p style="width: 2000px">wide')
    found = findings(browser, page, "phone")
    assert any("image-alt (critical)" in line for line in found)
    assert any("wider than the window" in line for line in found)


@pytest.mark.parametrize(
    ("window", "scheme"), [("desktop", "light"), ("phone", "light"), ("desktop", "dark")]
)
def test_every_page_of_the_site(browser, window, scheme):
    pages = sorted(SITE.glob("*.html"))
    if not pages:
        pytest.skip("the site is not built: make docs")
    assert not [line for page in pages for line in findings(browser, page, window, scheme)]
