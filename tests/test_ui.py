"""The review pages without a browser: what is clicked is stored, what is empty says what to do, pairs stay blind."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from flows.export import Asked, export
from seedbed.store import Store
from seedbed.store.filters import STATES, Filter
from seedbed.store.leases import drawn_order
from seedbed.store.queue import Key, plan
from seedbed.store.reviews import Event, record, undo
from seedbed.store.versions import freeze, refilter, version_batches
from tests.handmade import add, judged, twenty
from ui import keys
from ui.panel import STATE_NAMES

ROOT = Path(__file__).parent.parent
APP = ROOT / "ui" / "app.py"
PAGES = ("review", "explore", "coverage", "runs", "publish")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Twenty samples by hand, and a reviewer."""
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))
    monkeypatch.setenv("SEEDBED_REVIEWER", "anna")
    made = twenty(tmp_path)
    yield made
    made.close()


def opened(page: str = "review", **query: str) -> AppTest:
    """A page as a browser would open it, with the values of its address."""
    app = AppTest.from_file(str(APP), default_timeout=60)
    if page != "review":  # a page that is a function has no file to switch to
        app = AppTest.from_string(
            f"from ui.desk import guarded, sign_in\nfrom ui.{page} import page\nsign_in()\nguarded(page)",
            default_timeout=60,
        )
    app.query_params.update(query)
    return ran(app)


def ran(thing) -> AppTest:
    """The page after a run, or after a click or an input."""
    app: AppTest = thing.run()
    assert not app.exception, app.exception
    return app


def press(app: AppTest, *pressed: str) -> AppTest:
    for key in pressed:
        ran(app.button(key=f"key-{key}").click())
    return app


def shown(app: AppTest) -> str:
    """All that the page says."""
    bodies = [block.proto.body for block in app.get("html") if "<style" not in block.proto.body]
    html = [unescape(re.sub(r"<[^>]+>", " ", body)) for body in bodies]
    parts = (app.title, app.info, app.warning, app.error, app.success, app.code, app.caption, app.markdown, app.header)
    return "\n".join([*html, *(str(part.value) for found in parts for part in found)]).replace("\\", "")


def in_hand(app: AppTest) -> str:
    return next(found[1] for block in app.get("html") if (found := re.search(r'"sample">(\w+)<', block.proto.body)))


def freeze_all(store: Store) -> str:
    leaves = store.rows("SELECT DISTINCT leaf FROM samples")
    return freeze(store, "run1", [("run1", "skills", str(row["leaf"])) for row in leaves]).version


# Review


def test_a_hundred_reviews_are_in_the_store_and_in_the_next_version_and_can_be_undone(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))
    monkeypatch.setenv("SEEDBED_REVIEWER", "anna")
    store = Store(tmp_path)
    add(store, [judged(n, f"leaf/{n % 7}", "good" if n % 2 else "poor") for n in range(104)])
    first = freeze_all(store)
    app, meant = opened(order="random"), dict[str, str]()
    for n in range(100):
        meant[in_hand(app)] = "drop" if n % 3 else "keep"
        press(app, "2" if n % 3 else "1")
    found = store.rows("SELECT sample_id, decision, reviewer FROM decisions")
    assert {row["sample_id"]: row["decision"] for row in found} == meant and len(meant) == 100
    assert {row["reviewer"] for row in found} == {"anna"}
    assert store.rows("SELECT count(*) AS n FROM reviews WHERE seconds IS NULL") == [{"n": 0}]
    second = refilter(store, first, {}).version
    kept = {str(row["sample_id"]) for batch in version_batches(store, second) for row in batch.to_pylist()}
    assert all((sample_id in kept) == (action == "keep") for sample_id, action in meant.items())
    press(app, *"U" * 10)
    assert in_hand(app) == list(meant)[90], "step by step, back to the sample"
    while undo(store, "anna"):
        pass
    assert store.rows("SELECT count(*) AS n FROM decisions") == [{"n": 0}]
    assert store.rows("SELECT count(*) AS n FROM reviews") == [{"n": 200}], "nothing was deleted"


def test_a_pair_is_blind_and_in_the_order_that_is_stored_with_the_decision(store):
    app = opened(kind="preference")
    for number in range(4):
        key = Key("run1", in_hand(app), 100 + number)
        [row] = store.rows("SELECT answer, rejected FROM samples WHERE sample_id = ?", [key.sample_id])
        order = drawn_order("anna", key)
        blocks = [block.proto.body for block in app.get("html")]
        left = next(body for body in blocks if "Left answer" in body)
        assert str(row["answer" if order == "chosen-first" else "rejected"]) in left
        said = shown(app)
        assert not re.search(r"judge\b(?!s)|chosen|reject|critique|prefer\w* in|0\.\d", said.replace("preference", ""))
        assert app.button(key="key-W").disabled, "what the judges say is not shown of a pair"
        press(app, "1")
        [stored] = store.rows("SELECT * FROM reviews WHERE sample_id = ?", [key.sample_id])
        assert stored["shown_order"] == order
        assert stored["action"] == ("chosen" if order == "chosen-first" else "rejected")
    assert {str(row["shown_order"]) for row in store.rows("SELECT * FROM base.assignments")} >= {order}


def test_undo_tells_the_side_and_never_the_judges_choice(store):
    app = opened(kind="preference")
    press(app, "1", "U")
    assert "Took back: left." in shown(app) and "chosen" not in shown(app)


def test_skip_flag_note_and_edit_are_events_and_the_edit_is_shown(store):
    app = opened(kind="instruction")
    first = in_hand(app)
    press(app, "F", "N")
    app.text_area[0].input("  Look at the date. ")
    ran(next(button for button in app.button if button.label == "Save the note").click())
    press(app, "E")
    answer = next(area for area in app.text_area if area.label == "Answer")
    answer.input("Better so.")
    ran(next(button for button in app.button if button.label == "Save the edit").click())
    assert in_hand(app) == first and "Better so." in shown(app) and "edited by anna" in shown(app)
    press(app, "D")
    assert any("<del>" in block.proto.body and "<ins>" in block.proto.body for block in app.get("html"))
    press(app, "S")
    assert in_hand(app) != first
    events = store.rows("SELECT action, note, edit FROM reviews ORDER BY created_at")
    assert [(row["action"], row["note"]) for row in events] == [
        ("flag", ""), ("note", "Look at the date."), ("edit", ""), ("skip", ""),
    ]  # fmt: skip
    assert events[2]["edit"] == '{"answer":"Better so."}'
    press(app, "U", "U")
    assert in_hand(app) == first and "Better so." not in shown(app)


def test_an_edit_that_leaves_nothing_or_changes_nothing_is_not_stored(store):
    app = press(opened(kind="instruction"), "E")
    save = next(button for button in app.button if button.label == "Save the edit")
    ran(save.click())
    assert "Nothing was changed." in shown(app)
    next(area for area in app.text_area if area.label == "Answer").input("  ")
    ran(next(button for button in app.button if button.label == "Save the edit").click())
    assert "must not be empty" in shown(app)
    assert store.rows("SELECT count(*) AS n FROM reviews") == [{"n": 0}]


def test_a_bulk_verdict_says_how_many_first_and_asks_again_when_that_changes(store):
    app = press(opened(kind="instruction", status="kept"), "B")
    assert "4 samples" in shown(app)
    app.radio(key="bulk action").set_value("keep")
    with store.writing() as db:
        db.execute("UPDATE base.samples SET status = 'kept' WHERE position = 1")
    ran(app)
    ran(app.button(key="bulk go").click())
    assert "Nothing was recorded: the filter matched 4 samples and matches 5 by now" in shown(app)
    assert store.rows("SELECT count(*) AS n FROM reviews") == [{"n": 0}]
    ran(app.button(key="bulk again").click())
    app.radio(key="bulk action").set_value("keep")
    ran(app)
    ran(app.button(key="bulk go").click())
    assert store.rows("SELECT count(*) AS n FROM decisions") == [{"n": 5}]
    press(app, "U")
    assert "Took back 5 verdicts" in shown(app)
    assert store.rows("SELECT count(*) AS n FROM decisions") == [{"n": 0}]


def test_two_reviewers_on_two_pages_never_have_the_same_sample_in_hand(store, monkeypatch):
    anna = opened(order="random")
    monkeypatch.setenv("SEEDBED_REVIEWER", "ben")
    ben, seen = opened(order="random"), set[str]()
    for _ in range(6):
        assert in_hand(anna) != in_hand(ben)
        seen |= {in_hand(anna), in_hand(ben)}
        press(anna, "3"), press(ben, "3")
    assert len(seen) == 12


def test_a_view_comes_whole_from_the_address(store):
    app = opened(
        state="flagged", leaf="a/two", kind="instruction", status="dropped", judge="critique", low="2", text="torn"
    )
    assert "No sample matches this filter" in shown(app)
    assert "a/two · instruction · dropped · flagged · 2 ≤ score of critique · with “torn”" in shown(app)
    record(store, "ben", Event("run1", f"{11:020x}", "flag"))
    app = opened(
        state="flagged", leaf="a/two", kind="instruction", status="dropped", judge="critique", low="2", text="torn"
    )
    assert in_hand(app) == f"{11:020x}"


@pytest.mark.parametrize("text", ["'; DROP TABLE base.samples; --", "x' OR '1'='1", '") OR 1=1 --', "$reviewer"])
def test_no_value_that_is_typed_is_ever_sql(store, text):
    for page in ("review", "explore"):
        names = ("text", "leaf", "kind", "status", "step", "reason", "judge", "low", "in", "state", "order")
        app = opened(page, **dict.fromkeys(names, text))
        assert "No sample matches" in shown(app), "the words occur nowhere; of the rest only what exists can be chosen"
    app = opened()
    ran(app.text_input(key="name").input(text))
    press(app, "3")
    assert store.rows("SELECT reviewer FROM reviews") == [{"reviewer": text}]
    opened("explore", sample=text, run=text)
    assert store.rows("SELECT count(*) AS n FROM samples") == [{"n": 20}]


def test_every_state_of_review_has_a_name_and_every_key_is_told():
    assert list(STATE_NAMES) == list(STATES)
    docs = (ROOT / "docs" / "review.md").read_text()
    assert re.findall(r"^\| `(\w)` \|", docs, re.MULTILINE) == list(keys.HELP)


# What pages say where there is nothing


@pytest.mark.parametrize("page", PAGES)
def test_without_a_store_or_a_run_every_page_says_which_command_to_run(page, tmp_path, monkeypatch):
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("SEEDBED_REVIEWER", "anna")
    assert f"seedbed run recipes/starter.yaml --home {tmp_path}/none" in shown(opened(page))
    assert not (tmp_path / "none").exists(), "looking makes no store"
    Store(tmp_path / "none").close()
    assert f"seedbed run recipes/starter.yaml --home {tmp_path}/none" in shown(opened(page))


def test_without_a_name_nothing_can_be_reviewed(store, monkeypatch):
    monkeypatch.setenv("SEEDBED_REVIEWER", " ")
    app = opened()
    assert "Say who you are" in shown(app) and not app.button
    ran(app.text_input(key="name").input("ben"))
    press(app, "3")
    assert store.rows("SELECT reviewer FROM reviews") == [{"reviewer": "ben"}]


def test_a_finished_queue_says_what_to_do_next(store, monkeypatch):
    app = press(opened(leaf="a/two"), *"3333")
    assert "Everything here is reviewed, 4 samples in all" in shown(app) and "seedbed refilter" in shown(app)
    assert "waits for a second opinion" in shown(opened(state="needs a second opinion"))
    assert "been through all 4 samples" in shown(press(opened(state="I have reviewed"), *"1111"))


def test_what_others_have_in_hand_is_said_to_be_theirs(store, monkeypatch):
    for name in ("cleo", "dan", "eve"):
        monkeypatch.setenv("SEEDBED_REVIEWER", name)
        late = opened(leaf="b", kind="preference")
    assert "with other reviewers" in shown(late), "each has one in hand and one to come"


def test_an_identity_provider_goes_before_any_name_that_is_typed(store):
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.user = {"is_logged_in": True, "email": "anna@example.org"}
    press(ran(app), "3")
    assert not app.text_input(key="text").value and all(field.key != "name" for field in app.text_input)
    assert store.rows("SELECT reviewer FROM reviews") == [{"reviewer": "anna@example.org"}]
    app.user = {"is_logged_in": False}
    assert "Say who you are" in shown(ran(app))


# The other pages


def test_explore_finds_pages_and_tells_why(store):
    app = opened("explore", leaf="a")
    assert "12 samples" in shown(app) and app.button(key="next").disabled
    app = opened("explore")
    assert "1 to 15 of 20" in shown(app)
    ran(app.button(key="next").click())
    assert "16 to 20 of 20" in shown(app) and app.button(key="next").disabled
    ran(app.button(key="previous").click())
    ran(app.button(key="open 1").click())
    assert "Why dropped: critique below 3.5" in shown(app) and "It has a fault." in shown(app)
    ran(app.button(key="back").click())
    assert "1 to 15 of 20" in shown(app)


def test_others_decisions_are_hidden_until_one_has_decided_oneself(store):
    sample = f"{2:020x}"
    record(store, "ben", Event("run1", sample, "drop"))
    assert "ben" not in shown(opened("explore", run="run1", sample=sample))
    record(store, "anna", Event("run1", sample, "keep"))
    assert "ben" in shown(opened("explore", run="run1", sample=sample))


def test_coverage_tells_leaves_funnel_and_agreement(store):
    with store.writing() as db:
        db.execute("INSERT INTO base.targets VALUES ('run1', 'skills', 'a/one', 8, ''), ('run1', 'skills', 'b', 4, '')")
    said = shown(opened("coverage"))
    assert "2 leaves" in said and "critique" in said and "No two reviewers have decided the same sample yet" in said
    for key in plan(store, "x", Filter(kind="instruction"), "random").keys:
        for name in ("anna", "ben"):
            record(store, name, Event(key.run_id, key.sample_id, "keep" if key.position % 2 else "drop"))
    said = shown(opened("coverage"))
    assert "Cohen's kappa" in said and "1.00" in said and "says little" in said


def test_publish_makes_compares_and_hands_out_versions(store, tmp_path):
    first = freeze_all(store)
    dropped = next(key for key in plan(store, "anna", Filter(status="kept", kind="instruction"), "random").keys)
    record(store, "anna", Event(dropped.run_id, dropped.sample_id, "drop"))
    app = opened("publish")
    assert f"seedbed push {first}" in shown(app)
    ran(next(button for button in app.button if button.label == "Make a version").click())
    assert "hand-v2 was made" in shown(app)
    app = opened("publish")
    assert "dropped by people" in shown(app) and dropped.sample_id in shown(app)
    from ui.publish import _file

    by_hand = tmp_path / "by-hand.jsonl"
    for side in ("all", "train"):
        export(store, first, by_hand, Asked(sides=side))
        assert _file(store, first, "messages", ".jsonl", side) == by_hand.read_bytes()
    ran(next(button for button in app.button if button.label == "Make a version").click())
    assert "Nothing changed" in shown(app)


def test_a_store_that_another_program_holds_is_told_in_its_words(store, tmp_path):
    (tmp_path / "seedbed.duckdb").rename(tmp_path / "away")
    shutil.copy(ROOT / "README.md", tmp_path / "seedbed.duckdb")
    assert "cannot open" in shown(opened("coverage"))
