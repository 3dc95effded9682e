"""The review pages in a real browser: keys, focus, widths, what axe finds, and that nothing leaves the machine."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from benchmarks.mock_server import running
from benchmarks.review import command
from seedbed.records import Content
from seedbed.store import Store
from seedbed.store.reviews import Event, record
from tests.browsing import SAMPLE, faults, in_hand, launched, press, served, settled, visit, watched, width
from tests.handmade import NAMES, add, judged
from tests.ports import free_port
from tests.test_run import await_requests, recipe, sql
from tests.test_ui import PAGES, freeze_all

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

HOSTILE = """# A heading
<img src="http://tracker.invalid/pixel.png"> ![seen](http://tracker.invalid/seen.png)
[a link](javascript:alert(1)) [out](http://tracker.invalid/out) <script>document.title = "taken"</script>
<style>body {display: none}</style> <iframe src="http://tracker.invalid/"></iframe>
![ref][1] :material/home: $x^2$ :red[red] <svg onload="document.title = 'taken'">

[1]: http://tracker.invalid/ref.png
"""
EVERY_PAGE = ["", *PAGES[1:]]
DEBATED = f"{3:020x}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Thirty hostile samples, ten of them pairs, one edited, in a version; and reviews of two people."""
    folder = tmp_path_factory.mktemp("home")
    store = Store(folder)
    texts = Content(question=HOSTILE, answer=f"{HOSTILE} the answer", context=HOSTILE)
    rows = [judged(n, f"leaf/{n % 3}", NAMES[n % 4]) for n in range(20)]
    rows += [judged(100 + n, "leaf/<b>pairs</b>", NAMES[n % 4], "preference") for n in range(10)]
    for n, row in enumerate(rows):
        pair = row.sample.kind == "preference"
        content = replace(texts, answer=f"{texts.answer} {n}", rejected=f"Worse {n}." if pair else "")
        rows[n] = row._replace(sample=row.sample.model_copy(update={"content": content}))
    add(store, rows)
    with store.writing() as db:
        db.execute("INSERT INTO base.targets VALUES ('run1', 'skills', 'leaf/0', 9, '')")
    freeze_all(store)
    for name in ("ben", "cleo"):
        record(store, name, Event("run1", f"{0:020x}", "keep", note=HOSTILE))
    record(store, "dora", Event("run1", DEBATED, "flag"))
    store.close()
    return folder


@pytest.fixture(scope="module")
def address(home) -> Iterator[str]:
    with served(home, "anna") as found:
        yield found


@pytest.fixture
def context(browser, address) -> Iterator[BrowserContext]:
    with watched(browser) as made:
        yield made


def test_keys_decide_skip_and_undo_and_the_focus_stays(context, address, home):
    page = visit(context, f"{address}/?kind=instruction&order=random")
    first = in_hand(page)
    page.get_by_role("button", name="Keep").focus()
    second = press(page, "1")
    assert "Keep" in page.evaluate("document.activeElement.textContent"), "the focus is where it was"
    third = press(page, "s")
    assert len({first, second, third}) == 3
    assert press(page, "u") == second and press(page, "u") == first
    assert press(page, "2") == second
    found = sql("SELECT sample_id, action, undone FROM reviews WHERE reviewer = 'anna' ORDER BY created_at", home)
    assert [(row["sample_id"], row["action"], row["undone"]) for row in found if row["action"] != "undo"] == [
        (first, "keep", True),
        (second, "skip", True),
        (first, "drop", False),
    ]


def test_a_dialog_takes_the_focus_and_its_keys_and_gives_both_back(context, address, home):
    page = visit(context, f"{address}/?kind=instruction&order=random")
    before = in_hand(page)
    page.get_by_role("button", name="Note", exact=False).first.focus()
    page.keyboard.press("n")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("!!document.activeElement.closest('[role=dialog]')")
    page.keyboard.press("1")  # decides nothing here
    page.get_by_role("textbox", name="Note").fill("1 2 3")
    page.keyboard.press("Control+Enter")
    page.get_by_role("dialog").wait_for(state="detached")
    settled(page)
    assert in_hand(page) == before
    assert "1 2 3" in page.locator(".seedbed-line").all_inner_texts()[-1]
    page.get_by_role("button", name="Edit").focus()
    page.keyboard.press("e")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    settled(page)
    assert "Edit" in page.evaluate("document.activeElement.textContent")
    assert press(page, "3") != before


def test_keys_can_be_turned_off_for_who_speaks_or_types_them_by_mistake(context, address):
    page = visit(context, f"{address}/?kind=instruction&order=random")
    before = in_hand(page)
    page.keyboard.press("h")
    page.get_by_text("Keys are on").click()
    settled(page)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    settled(page)
    page.keyboard.press("3")
    page.wait_for_timeout(500)
    assert in_hand(page) == before
    page.get_by_role("button", name="Unsure").click()
    page.wait_for_function(f"document.querySelector('{SAMPLE}')?.textContent !== '{before}'")


def test_every_key_has_a_button_that_says_it(context, address):
    from ui.keys import HELP

    page = visit(context, f"{address}/?kind=instruction")
    labels = " ".join(page.get_by_role("button").all_inner_texts())
    assert [key for key in HELP if not re.search(rf"\b{key}\b", labels)] == []


def test_a_pair_stands_side_by_side_and_its_difference_is_not_told_by_colour_alone(context, address):
    page = visit(context, f"{address}/?kind=preference")
    left, right = (page.get_by_role("heading", name=f"{side} answer").bounding_box() for side in ("Left", "Right"))
    assert left and right and left["y"] == right["y"] and left["x"] < right["x"]
    page.keyboard.press("d")
    page.locator("ins").first.wait_for()
    line = "getComputedStyle(document.querySelector('{}')).textDecorationLine"
    assert page.evaluate(line.format(".seedbed-text del")) == "line-through"
    assert page.evaluate(line.format(".seedbed-text ins")) == "underline"
    assert "struck out only left" in " ".join(page.locator(".seedbed-line").all_inner_texts())


def test_hostile_samples_stay_text_raw_and_rendered(context, address):
    """The fixture looks at all requests: none may leave the address."""
    page = visit(context, f"{address}/?kind=instruction")
    told = page.locator(".seedbed-rendered").first.inner_text()
    assert "[image: seen http://tracker.invalid/seen.png]" in told and "[link: http://tracker.invalid/out]" in told
    for name in ("img", "a", "script", "style", "iframe", "svg"):
        assert page.locator(f".seedbed-rendered {name}").count() == 0
    page.keyboard.press("m")
    page.locator(".seedbed-text").first.wait_for()
    settled(page)
    assert '<img src="http://tracker.invalid/pixel.png">' in page.locator(".seedbed-text").first.inner_text()
    opened = visit(context, f"{address}/explore?run=run1&sample={0:020x}")
    assert "tracker.invalid" in opened.locator("body").inner_text()
    for each in (page, opened):
        assert each.title() != "taken" and each.get_by_role("heading", level=1).is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(browser, address, scheme):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    found = list[str]()
    page = visit(context, address)
    in_hand(page)

    for key in "EBH":
        page.keyboard.press(key)
        page.get_by_role("dialog").wait_for(timeout=60_000)
        settled(page)
        found += faults(page, f"dialog {key}")
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        settled(page)
    page.get_by_role("button", name="Filter and order").click()
    found += faults(page, "filter")
    for path in [*EVERY_PAGE, f"explore?run=run1&sample={0:020x}", f"explore?run=run1&sample={DEBATED}"]:
        page.goto(f"{address}/{path}")
        page.wait_for_selector("h1", timeout=60_000)
        settled(page)
        found += faults(page, path)
    context.close()
    assert found == []


@pytest.mark.parametrize("path", [*EVERY_PAGE, f"explore?run=run1&sample={0:020x}", "?kind=preference"])
def test_a_narrow_window_needs_no_sideways_scrolling(context, address, path):
    page = visit(context, f"{address}/{path}")
    page.set_viewport_size({"width": 400, "height": 800})
    settled(page)
    assert width(page) <= 400


def test_reviews_are_stored_while_a_run_writes(context, address, home, tmp_path):
    page = visit(context, f"{address}/?in=run+run1+of+hand&kind=preference&order=random")
    before = sql("SELECT count(*) AS n FROM reviews", home)[0]["n"]
    with running(latency_ms=40) as base_url:
        curate = ["exact_duplicates", {"critique": {"keep_at": 3.0}}]
        with command(home, "run", str(recipe(tmp_path, base_url, per_leaf=60, curate=curate))) as run:
            await_requests(base_url, 100)
            for _ in range(8):
                press(page, "3")
            during = run.poll()
            run.communicate(timeout=240)
    assert during is None, "the run was still writing"
    assert sql("SELECT count(*) AS n FROM reviews", home)[0]["n"] == before + 8
    assert sql("SELECT status FROM runs WHERE recipe = 'scripted'", home)[0]["status"] in ("done", "short")


def test_ctrl_c_ends_the_pages_also_with_one_open_and_they_were_on_this_machine_only(context, home):
    port = free_port()
    with command(home, "review", "--port", str(port), "--reviewer", "dan") as process:
        assert process.stdout is not None and process.stdout.readline().startswith("Review at")
        visit(context, f"http://127.0.0.1:{port}")
        [child] = psutil.Process(process.pid).children()
        listening = [one.laddr.ip for one in child.net_connections() if one.status == "LISTEN"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert listening == ["127.0.0.1"]
    assert process.returncode == 0 and "Ended. Every recorded review is stored." in err and "Traceback" not in err
    assert not child.is_running()


def test_a_taken_port_or_a_missing_store_is_told_with_a_way_out(address, home, tmp_path):
    port = address.rsplit(":", 1)[1]
    with command(home, "review", "--port", port) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and f"--port {int(port) + 1}" in err
    with command(tmp_path / "none", "review", "--port", port) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "seedbed run recipes/starter.yaml" in err
