"""The site builds without a warning; its pages are run by `make docs`, which takes minutes."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

#: Pages as they are written; without a kernel nobody says what language their cells are in.
NOT_RUN = ("-D", "nb_execution_mode=off", "-D", "suppress_warnings=myst-nb.lexer")
DOCS = Path(__file__).parents[1] / "docs"


class Links(HTMLParser):
    """What a page refers to, and the places that can be referred to; pictures without a text in its place."""

    def __init__(self):
        super().__init__()
        self.references, self.places, self.without_text = [], set(), []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.places |= {found["id"]} if found.get("id") else set()
        self.references += [found[key] for key in ("href", "src") if found.get(key)]
        if tag == "img" and not found.get("alt"):
            self.without_text.append(found.get("src"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("myst_nb")
    pytest.importorskip("furo")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    done = subprocess.run(
        [*command, *NOT_RUN, "-d", out / "trees", DOCS, out / "html"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / "html"


@pytest.mark.slow
def test_no_link_is_broken_and_nothing_comes_from_elsewhere(site):
    pages = {path: Links() for path in site.rglob("*.html")}
    for path, links in pages.items():
        links.feed(path.read_text(encoding="utf-8"))
    assert len(pages) > 15
    for path, links in pages.items():
        for reference in links.references:
            if reference.startswith(("http:", "https:", "mailto:", "data:")):
                continue
            file, _, place = re.sub(r"\?.*?(?=#|$)", "", reference).partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), f"{path.name}: {reference}"
            if place and target in pages:
                assert place in pages[target].places, f"{path.name}: {reference}"
        # Scripts, styles and pictures are the site's own: it is read without a network.
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"https?:", text), path.name
        assert not re.findall(r"<link[^>]+rel=\"stylesheet\"[^>]+href=\"https?:", text), path.name
        assert not links.without_text, path.name
