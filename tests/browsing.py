"""A real browser for tests of the pages, in which every request is looked at: none may leave this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.review import CHROMIUM, command
from tests.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SAMPLE = '[data-seedbed="sample"]'


def must_have_one() -> bool:
    """In CI, and where `make test` can bring Debian's, a missing browser is a failure and no reason to skip."""
    return bool(os.environ.get("CI")) or (shutil.which("apt-get") is not None and os.geteuid() == 0)


@contextmanager
def launched() -> Iterator[Browser]:
    if not must_have_one():
        pytest.importorskip("playwright", reason="no Playwright: `make test` installs it")
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as browsers:
        try:
            found = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        except Error as error:
            if must_have_one():
                raise
            pytest.skip(f"no browser: `make test` brings one. {str(error).splitlines()[0]}")
        yield found
        found.close()


@contextmanager
def served(home: Path, reviewer: str) -> Iterator[str]:
    """`seedbed review` on a free port; its address."""
    port = free_port()
    with command(home, "review", "--port", str(port), "--reviewer", reviewer) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith(f"Review at http://127.0.0.1:{port}"), process.communicate()
        yield said.split()[2]


@contextmanager
def watched(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile; every request that it makes is looked at."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    asked = list[str]()
    made.on("request", lambda request: asked.append(request.url))
    yield made
    made.close()
    outside = {url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))}
    assert asked and not outside


def visit(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("h1", timeout=60_000)
    settled(page)
    return page


def settled(page: Page) -> None:
    """Wait until the page draws no more."""
    page.wait_for_timeout(100)
    page.wait_for_selector('[data-test-script-state="notRunning"]', timeout=60_000)
    page.wait_for_timeout(150)


def in_hand(page: Page) -> str:
    page.wait_for_selector(SAMPLE, timeout=60_000)
    return page.locator(SAMPLE).inner_text()


def press(page: Page, key: str) -> str:
    """Press a key that goes on to another sample; which one it is."""
    before = in_hand(page)
    page.keyboard.press(key)
    page.wait_for_function(f"document.querySelector('{SAMPLE}')?.textContent !== '{before}'", timeout=20_000)
    settled(page)
    return in_hand(page)


def faults(page: Page, where: str = "") -> list[str]:
    """What axe finds on the page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{where} {one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def width(page: Page) -> int:
    """How wide the page is with what must be scrolled to sideways."""
    parts = "[document.documentElement, document.querySelector('[data-testid=stMain]')]"
    found: list[int] = page.evaluate(f"{parts}.map(e => e.scrollWidth)")
    return max(found)
