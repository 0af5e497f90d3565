"""The viewer in a real browser, with a run whose every text is an attack."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from grand_pipeline.viewer.server import open_server
from tests.attacks import ATTACKS
from tests.viewer.runs import besieged_run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
PARTS = frozenset(
    (
        *("html", "head", "meta", "title", "link", "script", "body", "header", "main", "noscript"),
        *("form", "input", "datalist", "option", "select", "button", "label", "nav", "section"),
        *("article", "div", "span", "a", "b", "i", "p", "h1", "h2", "ul", "li", "dl", "dt", "dd"),
        *("mark", "pre", "details", "summary", "img", "svg", "g", "path", "rect"),
    )
)
"""What the page is made of."""

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CHROMIUM, reason="needs a chromium"),
]


class _Seen(HTMLParser):
    """Elements of a page, and of their attributes those that could run or fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.odd: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        for name, value in attrs:
            foreign = name in ("href", "src") and not (value or "/").startswith(("#", "/"))
            if name.startswith("on") or name == "srcdoc" or foreign:
                self.odd.append((tag, name, (value or "")[:80]))


def dom(folder: Path, address: str) -> str:
    """A page as it stands when its scripts have run."""
    return subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={folder}", "--virtual-time-budget=30000", address),
        ],
        capture_output=True,
        check=True,
        timeout=300,
    ).stdout.decode()


@pytest.mark.parametrize("page", ["grid", "picture"])
def test_texts_stay_texts_in_a_browser(tmp_path: Path, page: str) -> None:
    run = besieged_run(tmp_path)
    [row] = run.images()
    address = {"grid": "#/", "picture": f"#/image/{row.image_id}"}[page]
    with open_server(run, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            html = dom(tmp_path / "browser", server.url + address)
        finally:
            server.shutdown()
            thread.join()
    seen = _Seen()
    seen.feed(html)
    assert not seen.odd
    assert seen.elements.keys() <= PARTS
    assert seen.elements["script"] == 1 and "grand view</title>" in html
    if page == "picture":
        assert seen.elements["path"] == len(ATTACKS)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
