"""Open a page in a browser where there is a screen to show it on; never waits for one.

python examples/open_page.py demo-run/report.html
"""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path


def main(page: str) -> None:
    """Print where the page is, and show it."""
    path = Path(page).resolve(strict=True)
    print(path)
    screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if screen:
        # Browsers that live in a terminal would take it, and wait for keys.
        for name in ("TERM", "BROWSER"):
            os.environ.pop(name, None)
        webbrowser.open(path.as_uri())


if __name__ == "__main__":
    main(sys.argv[1])
