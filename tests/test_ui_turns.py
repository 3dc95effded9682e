"""Whole conversations in review, in a sample's life and in `seedbed why`: without a browser, then in a real one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.conversations import CONVERSATIONS, LONG, TALK
from benchmarks.review import WATCH
from seedbed.conversation import Content, Response, Turn
from seedbed.records import Sample, Verdict
from seedbed.store import Store
from seedbed.store.filters import Filter, count
from seedbed.store.reviews import Event, record
from seedbed.store.rows import Judged
from tests.browsing import faults, in_hand, launched, press, served, settled, visit, watched, width
from tests.handmade import add
from tests.test_run import seedbed
from tests.test_ui import opened, ran, shown
from tests.test_ui import press as pressed
from ui.markdown import rendered
from ui.turns import AT_ONCE, share

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = list(CONVERSATIONS)


def leaf(name: str) -> str:
    return f"talk/{name.replace(' ', '_')}"


def told(n: int, where: str, kind: str, content: Content) -> Judged:
    sample = Sample(
        sample_id=f"{n:020x}",
        kind=kind,
        method="skills",
        leaf=where,
        ordinal=n,
        attempt=0,
        content=content,
        status="kept",
        source="talks.jsonl" if n == 0 else "",
    )
    return Judged(n, sample, (Verdict(step="rules", curator="rules", keep=True),))


def filled(home) -> Store:
    """One sample of each conversation, and thirty that are long, each in its own way."""
    store = Store(home)
    rows = [told(n, leaf(name), *CONVERSATIONS[name]) for n, name in enumerate(NAMES)]
    many = [
        turn for n in range(20) for turn in (Turn("user", f"{n}. {LONG[:2000]}"), Turn("assistant", LONG[n : n + 9000]))
    ]
    whole = Content("Summarise.", "A summary.", context=LONG)
    long = [replace(whole, context=f"{n} {LONG}") for n in range(15)]
    long += [Content.of([*many, Turn("user", f"And {n}?")], [Response("So.")]) for n in range(15)]
    add(store, rows + [told(100 + n, "slow", "instruction", content) for n, content in enumerate(long)])
    return store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))
    monkeypatch.setenv("SEEDBED_REVIEWER", "anna")
    made = filled(tmp_path)
    yield made
    made.close()


def html(app) -> str:
    return "".join(block.proto.body for block in app.get("html") if "<style" not in block.proto.body)


def test_a_conversation_is_there_whole_with_tools_calls_reasoning_and_facts_folded(store):
    app = opened(leaf=leaf("tools"))
    drawn, said = html(app), shown(app)
    roles = re.findall(r'<h2 class="seedbed-label">([^<]*)</h2>', drawn)
    assert roles == ["system", "user", "assistant", "tool get_weather", "assistant", "user", "assistant",
                     "tool get_weather", "Answer"]  # fmt: skip
    assert re.findall("<summary>([^<]*)</summary>", drawn) == [
        "Tools offered: get_weather", "Reasoning, 17 words", "Calls get_weather", "Calls get_weather",
        "Result, 900 characters", "Reasoning, 4 words", "Facts of knowledge",
    ]  # fmt: skip
    assert "<details open" not in drawn.replace('seedbed-fold" open', "<details open")
    assert all(
        " ".join(text.split()) in " ".join(said.split()) for text in ("never guess the weather", "And in Málaga?")
    )
    assert '"town": "Bergen"' in said and "gold answer A shirt." in " ".join(said.split()) and "3, 4" in said
    assert "<strong>4 to 7 °C</strong>" in drawn, "Markdown is on"
    assert "writer-7b" not in said, "who wrote it is for the sample's life"
    life = shown(opened("explore", run="run1", sample=f"{0:020x}"))
    assert "Answer by writer-7b" in life and "brought in from talks.jsonl" in life and "tool get_weather" in life


def test_each_kind_is_decided_as_its_kind_says(store):
    app = opened(leaf=leaf("a correction"))
    assert "Corrected answer" in shown(app) and not app.button(key="key-D").disabled
    assert html(app).index("467") < html(app).index("476"), "the answer stands before its correction"
    pressed(app, "D")
    assert "<del>467</del>" in html(app) and "<ins>476</ins>" in html(app)
    pressed(app, "1")
    assert "labelled: not as it should be" in shown(opened(leaf=leaf("a label")))
    pair = opened(leaf=leaf("a pair"))
    assert "writer" not in shown(pair) and pair.button(key="key-1").label.startswith("Left")
    assert "details" in html(opened(leaf=leaf("a call"))) and " open>" in html(opened(leaf=leaf("a call")))
    pressed(pair, "1")
    found = store.rows("SELECT action, queue_order FROM reviews ORDER BY entry")
    assert found[0] == {"action": "keep", "queue_order": "disagreement"}
    assert found[1]["action"] in ("chosen", "rejected")


def test_the_order_of_the_queue_is_stored_and_coverage_tells_drawn_agreement_apart(store):
    pressed(opened(order="random", leaf=leaf("tools")), "F", "3")
    pressed(opened(order="least reviewed leaf first", leaf=leaf("formulas")), "1")
    found = store.rows("SELECT action, queue_order FROM reviews ORDER BY entry")
    assert [tuple(row.values()) for row in found] == [("flag", "random"), ("unsure", "random"), ("keep", "leaf")]
    with store.writing() as db:
        db.execute("UPDATE base.verdicts SET model = 'judge', step = 'critique', curator = 'critique'")
    said = shown(opened("coverage"))
    assert "agree, of the drawn" in said and "is not the judge's agreement in general" in said


def test_an_edit_is_of_the_four_texts_and_the_conversation_around_it_stays(store):
    app = pressed(opened(leaf=leaf("tools")), "E")
    assert [area.label for area in app.text_area] == ["Question", "Answer"]
    app.text_area[0].input("And in Rome?")
    ran(next(button for button in app.button if button.label == "Save the edit").click())
    assert "And in Rome?" in shown(app) and "And in Málaga?" not in shown(app) and "And in Bergen" not in shown(app)
    assert "never guess the weather" in shown(app) and "Calls get_weather" in shown(app)
    app = pressed(opened(leaf=leaf("a call")), "E")
    app.text_area[0].input("Weather in Rome?")
    ran(next(button for button in app.button if button.label == "Save the edit").click())
    assert "Weather in Rome?" in shown(app), "an answer that only calls a tool has no words to begin with"


def test_what_is_too_long_to_be_drawn_at_once_says_how_much_more_there_is_and_comes_when_asked(store):
    app = opened(leaf=leaf("long"))
    assert f"… and {len(LONG) - AT_ONCE + len('Summarise.A summary.'):,} characters more" in shown(app)
    assert len(html(app)) < 2 * AT_ONCE and "A summary." in shown(app)
    pressed(app, "A")
    assert "Paragraph 309." in shown(app) and not app.button(key="key-A").disabled
    assert opened(leaf=leaf("tools")).button(key="key-A").disabled
    assert share(TALK) is None and share(Content("a" * 9000, "b" * 9000)) == AT_ONCE // 2


def test_words_of_earlier_turns_are_found_whatever_their_script(store):
    add(
        store,
        [told(500, "slow", "dialogue", Content.of([Turn("user", "Où est Łódź, 東京?"), Turn("user", "b")]))],
        "run2",
    )
    for words in ("łódź", "東京", "OÙ"):
        assert count(store, Filter(text=words)) == 1
    assert count(store, Filter(text="raincoat")) == 1


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("it costs $5 and $6", "$5 and $6"),
        ("US$5 or 6$, $5 and 10$", "US$5 or 6$, $5 and 10$"),
        (r"\$x\$", "$x$"),
        ("`$x$`", "<code>$x$</code>"),
        ("$x^2$", "<i>x</i><sup>2</sup>"),
        (r"\(x_1\)", "<i>x</i><sub>1</sub>"),
        ("的$x$是", "<i>x</i>"),
        ("$$\na\n+ b\n$$", '<i>a</i><span class="seedbed-operator">+</span><i>b</i>'),
        ("> \\[\n> a\n> = b\n> \\]", '<span class="seedbed-operator">=</span>'),
        (r"$\begin{aligned}a&=b\\c&=d\end{aligned}$", '<span class="seedbed-grid">'),
        (r"$\def\a{\a\a}\a$", r'<code class="seedbed-source" dir="ltr">\def\a{\a\a}\a</code>'),
        (r"$\begin{tikzpicture}a&b\end{tikzpicture}$", '<code class="seedbed-source"'),
        (r"$\text{<img src=x>}$", "&lt;img"),
        (r"$\href{http://tracker.invalid}{x}$", "><i>x</i></span>"),
    ],
)
def test_formulas_are_laid_out_prices_are_none_and_no_formula_makes_anything_else(text, drawn):
    found = rendered(text)
    assert drawn in found and not re.search("<(?!/?(div|p|span|i|b|sub|sup|code|blockquote)[ >])", found)
    assert not re.search(r"<[^>]* (href|src|style|on\w+)=", re.sub('aria-label="[^"]*"', "", found))


def test_why_tells_a_conversation_role_by_role_and_no_terminal_obeys_it(tmp_path):
    store = filled(tmp_path)
    evil = Content.of([Turn("system", "\x1b[2Jgone"), Turn("user", "a")], [Response("b", "m", "\x1b]0;t\x07")])
    add(store, [told(600, "evil", "dialogue", evil)], "run2")
    record(store, "ben", Event("run1", f"{0:020x}", "flag"))
    store.close()
    said = seedbed("why", f"{0:020x}", home=tmp_path).stdout
    for line in (
        "system   You help with travel",
        'calls get_weather {"town":"Bergen","day":"tomorrow"}',
        "tool get_weather ",
        "reasoning Sunny means warm there.",
        "answer by writer-7b A shirt is enough",
        "knowledge, gold answer A shirt.",
        "knowledge, evidence: pages 3, 4",
        "brought in from talks.jsonl",
    ):
        assert line in said, line
    assert "corrected Rome fell in 476." in seedbed("why", f"{NAMES.index('a correction'):020x}", home=tmp_path).stdout
    evil_said = seedbed("why", f"{600:020x}", home=tmp_path).stdout
    assert "\x1b" not in evil_said and r"\x1b[2Jgone" in evil_said


# In a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    filled(home).close()
    with served(home, "anna") as found:
        yield found


@pytest.fixture
def context(browser) -> Iterator[BrowserContext]:
    with watched(browser) as made:
        yield made


def look(context: BrowserContext, address: str, name: str, wide: int) -> Page:
    page = visit(context, f"{address}/?leaf={leaf(name)}")
    page.set_viewport_size({"width": wide, "height": 900})
    settled(page)
    in_hand(page)
    return page


@pytest.mark.parametrize("wide", [1440, 400])
@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_fits_the_window_and_axe_finds_nothing(context, address, name, wide):
    page = look(context, address, name, wide)
    assert width(page) <= wide and page.get_by_text("encountered an error").count() == 0
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert width(page) <= wide and faults(page) == []


def test_what_is_folded_opens_by_the_keyboard(context, address):
    page = look(context, address, "tools", 1440)
    arguments = page.get_by_text('"day": "tomorrow"')
    assert not arguments.is_visible()
    page.locator("summary", has_text="Calls get_weather").first.focus()
    page.keyboard.press("Enter")
    arguments.wait_for(state="visible")


def test_a_formula_is_laid_out_and_read_out_as_its_source(context, address):
    page = look(context, address, "formulas", 400)
    [above, below] = page.locator(".seedbed-apart .seedbed-fraction > span").all()
    top, bottom = above.bounding_box(), below.bounding_box()
    assert top and bottom and top["y"] + top["height"] <= bottom["y"] + 1, "one above the other"
    assert page.get_by_role("math", name=r"a \neq 0").is_visible()


def test_each_block_is_read_from_its_own_side(context, address):
    page = look(context, address, "right to left", 1440)
    sides = "all => all.map(one => [one.tagName, getComputedStyle(one).direction])"
    found = page.locator(".seedbed-rendered").last.locator("h3, p[dir], li").evaluate_all(sides)
    assert found == [["H3", "rtl"], ["P", "rtl"], ["P", "ltr"], ["LI", "rtl"], ["LI", "rtl"], ["LI", "ltr"]]


def test_the_key_after_a_text_of_221_kilobytes_is_soon_answered(context, address):
    """A bound that holds on a busy machine; benchmarks/review.py measures."""
    page = visit(context, f"{address}/?leaf=slow&order=random")
    in_hand(page)
    page.evaluate(WATCH)
    page.evaluate("window.took = []")
    for _ in range(20):
        press(page, "3")
    took = sorted(page.evaluate("window.took"))
    assert len(took) == 20 and took[10] < 500, took
