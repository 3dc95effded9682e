"""From key press to next sample drawn, in a real browser, on a large store; alone, and while a run writes to it.

Every fifth sample is a pair, every third a conversation: tools, reasoning, code, formulas, and texts of 221 KB.

    python benchmarks/review.py                     # 20,000 samples, 150 key presses in each arm
    python benchmarks/review.py --samples 200000 --chromium /path/to/chromium

The time is taken inside the page: from the key's event to the first frame after the sample's id has changed.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks.conversations import CONVERSATIONS
from benchmarks.mock_server import prose, running
from seedbed.records import Content, Sample, Verdict
from seedbed.store import Store
from seedbed.store.rows import Judged, add_tables, judged_tables
from seedbed.store.runs import begin, end

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent
SEEDBED = [sys.executable, "-c", "from flows.cli import main; main()"]
CHROMIUM = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
LEAVES, PAIRS, TALKS = 40, 5, 3  # every fifth sample is a pair, every third a conversation
SINGLE = {name: (kind, content) for name, (kind, content) in CONVERSATIONS.items() if kind != "preference"}
WATCH = """
() => {
  const id = () => document.querySelector('[data-seedbed="sample"]')?.textContent;
  let pressed = 0, before = id();
  document.addEventListener('keydown', () => { pressed = performance.now(); before = id(); }, true);
  new MutationObserver(() => {
    if (!pressed || !id() || id() === before) return;
    const since = pressed;
    pressed = 0;
    requestAnimationFrame(() => setTimeout(() => window.took.push(performance.now() - since)));
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
}
"""


def sample(number: int, dice: random.Random) -> Judged:
    """A sample that three steps have judged: of ordinary length, or one of the conversations."""
    seed, pair = str(number).encode(), number % PAIRS == 0
    kind, content = "preference" if pair else "instruction", None
    if number % TALKS == 0 and not pair:
        kind, content = dice.choice(list(SINGLE.values()))
    answer, other = prose(seed, "answer") + prose(seed, "more"), prose(seed, "other") if pair else ""
    score = 1 + 4 * dice.random()
    last = Verdict.scored(
        "critique", "critique", score, 3.5, "critique below 3.5", "c", transcript=prose(seed, "fault")
    )
    if pair:
        last = Verdict.scored("preference", "preferences", dice.random(), 0.1, "margin below 0.1", "c")
    made = Sample(
        sample_id=blake2b(seed, digest_size=10).hexdigest(),
        kind=kind,
        method="preferences" if pair else "skills",
        leaf=f"branch_{number % 5}/leaf_{number % LEAVES}",
        ordinal=number // LEAVES,
        attempt=0,
        content=content or Content(question=prose(seed, "question"), answer=answer, rejected=other),
        status="kept" if last.keep else "dropped",
        step="" if last.keep else last.step,
        reason=last.reason,
    )
    checks = (
        Verdict(step="rules", curator="rules", keep=True),
        Verdict.scored("answer_check", "skills", 1 + 4 * dice.random(), 1.0, "answer fails its check", "c"),
    )
    return Judged(number, made, (*checks, last))


def fill(home: Path, samples: int) -> None:
    """A finished run of so many samples."""
    dice, store, size = random.Random(0), Store(home), 512
    targets = [("skills", f"branch_{n % 5}/leaf_{n}", samples // LEAVES, "") for n in range(LEAVES)]
    begin(
        store,
        "benchmark",
        "benchmark",
        '{"curate": []}',
        {},
        targets,
        steps=[("critique", "critique", "judge", "revision", "")],
    )
    for start in range(0, samples, size):
        rows = [sample(number, dice) for number in range(start, min(start + size, samples))]
        with store.writing() as db:
            add_tables(db, judged_tables("benchmark", rows, "judge"))
    end(store, "benchmark", "done", "", 1.0, 0)
    store.close()


@contextmanager
def command(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command of ours in a process of its own."""
    environment = {**os.environ, "SEEDBED_HOME": str(home), "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen([*SEEDBED, *arguments], env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def pages(home: Path, port: int) -> Iterator[str]:
    """`seedbed review`, once it answers."""
    with command(home, "review", "--port", str(port), "--reviewer", "benchmark") as process:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        if "Review" not in said:
            raise SystemExit("seedbed review did not start")
        yield said[2]


@contextmanager
def writer(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that goes on writing into the same store."""
    with running(latency_ms=20) as base_url:
        recipe = {
            "name": "writer",
            "model": {"engine": "http", "base_url": base_url, "model": "mock", "concurrency": 16},
            "taxonomy": str(ROOT / "taxonomies" / "starter"),
            "generate": [{"skills": {"per_leaf": 20_000}}],
            "curate": ["exact_duplicates", {"critique": {"keep_at": 3.0}}],
        }
        path = home / "writer.yaml"
        path.write_text(yaml.safe_dump(recipe))
        with command(home, "run", str(path)) as process:
            yield process


def press(page: Page, presses: int, dice: random.Random) -> list[float]:
    """Press keys as a reviewer would, each after a moment's look; milliseconds to the next sample."""
    page.evaluate("window.took = []")
    for n in range(presses):
        page.keyboard.press(dice.choice("12312312S"))
        page.wait_for_function(f"window.took.length > {n}", timeout=20_000)
        page.wait_for_timeout(dice.uniform(200, 500))
    found: list[float] = page.evaluate("window.took")
    return found


def told(name: str, took: list[float]) -> str:
    """Median, 95th percentile and longest."""
    longest = sorted(took)
    p95 = longest[int(0.95 * (len(took) - 1))]
    middle = statistics.median(took)
    return f"{name}: {len(took)} presses, p50 {middle:.0f} ms, p95 {p95:.0f} ms, longest {longest[-1]:.0f} ms"


def measure(home: Path, flags: argparse.Namespace) -> None:
    """Both arms on one store, in one browser."""
    from playwright.sync_api import sync_playwright

    dice = random.Random(1)
    with pages(home, flags.port) as address, sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=flags.chromium or None, args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}/?in=run+benchmark+of+benchmark")
        page.wait_for_selector('[data-seedbed="sample"]', timeout=60_000)
        page.wait_for_timeout(1000)
        page.evaluate(WATCH)
        press(page, 5, dice)
        print(told("alone", press(page, flags.presses, dice)), flush=True)
        with writer(home) as run:
            time.sleep(8)
            took = press(page, flags.presses, dice)
            if run.poll() is not None:
                raise SystemExit("the run ended before the key presses did")
            print(told("while a run writes", took), flush=True)
        browser.close()
    stored = Store(home).rows("SELECT count(*) AS n FROM reviews")[0]["n"]
    print(f"{stored} reviews stored of {2 * flags.presses + 5} keys pressed")


def main() -> None:
    """Read the flags, fill a store, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--presses", type=int, default=150)
    parser.add_argument("--port", type=int, default=8599)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "")
    flags = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        fill(Path(folder), flags.samples)
        print(f"{flags.samples:,} samples stored in {time.perf_counter() - begun:.0f} s", flush=True)
        measure(Path(folder), flags)


if __name__ == "__main__":
    main()
