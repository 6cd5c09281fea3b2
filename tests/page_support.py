"""What a page holds, and what a real browser makes of it."""

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from process_support import run_process

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")


class Page(HTMLParser):
    """What a page is made of; fails where elements are not nested."""

    VOID = ("meta", "link", "img", "br", "!doctype")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.json: list[dict] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script" and data.startswith('{"'):
            self.json.append(json.loads(data))
        elif self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, each, value in self.attributes if each == name]


def browser() -> str:
    """A Chromium on this machine."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium, Chrome or Edge on this machine")
    return found


# Runs before and after all scripts of the page; `told` is what it writes down.
BEFORE = "<script>told = { errors: [] }; onerror = (m) => { told.errors.push(m); };</script>"
AFTER = """
told.charts = document.querySelectorAll(".plot:has(.main-svg)").length;
told.wide = document.documentElement.scrollWidth > window.innerWidth;
document.body.dataset.told = JSON.stringify(told);
"""


def told_by(program: str, path: Path, script: str = "") -> dict[str, Any]:
    """Open a page, and get what a script in it has added to `told`.

    Args:
        program: see `browser`.
        path: the page; it is changed.
        script: beside errors, the number of charts, and whether the page is wider than its window.
    """
    text = path.read_text(encoding="utf-8").replace("<body>", f"<body>{BEFORE}")
    text = text.replace("</body>", f"<script>{script}{AFTER}</script></body>")
    path.write_text(text, encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000"]
    flags += [f"--user-data-dir={path.parent / 'profile'}", "--dump-dom"]
    done = run_process([program, *flags, path.as_uri()])
    (told,) = re.findall(r'<body data-told="([^"]*)"', done.stdout)
    return dict(json.loads(html.unescape(told)))
