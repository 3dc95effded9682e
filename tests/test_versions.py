"""Versions: frozen for good, filtered again without a call, people before judges, a why for every difference."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from benchmarks.mock_server import running
from seedbed.errors import InputError
from seedbed.store import Store
from seedbed.store.reviews import Event, record, undo
from seedbed.store.versions import diff, freeze, refilter, version_batches
from tests.test_run import facts, recipe, seedbed, sql, stats

CURATE: list[object] = ["exact_duplicates", "rules", {"critique": {"keep_at": 3.0}}]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A home with one finished run, to be copied."""
    folder = tmp_path_factory.mktemp("grown")
    with running() as base_url:
        facts("run", recipe(folder, base_url, per_leaf=12, curate=CURATE), home=folder / "home")
    return folder / "home"


@pytest.fixture
def home(grown, tmp_path):
    import shutil

    return shutil.copytree(grown, tmp_path / "home")


def kept(store: Store, version: str) -> list[dict[str, object]]:
    return [row for batch in version_batches(store, version, 7) for row in batch.to_pylist()]


def event(row, action: str, **more) -> Event:
    return Event(str(row["run_id"]), str(row["sample_id"]), action, **more)


def test_a_finished_run_is_a_version_and_run_again_makes_no_second_one(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url, curate=CURATE)
        done = seedbed("run", path, home=home)
        assert "seedbed export scripted-v1 scripted-v1.jsonl" in done.stdout.replace("\n", " ")
        seedbed("run", path, home=home)
    [version] = facts("versions", home=home)
    assert version["version"] == "scripted-v1"
    assert version["samples"] == sql("SELECT kept FROM runs", home)[0]["kept"]


def test_a_version_holds_what_the_run_kept_in_its_order(home):
    store = Store(home)
    ids = [row["sample_id"] for row in kept(store, "scripted-v1")]
    of_run = store.rows("SELECT sample_id FROM samples WHERE status = 'kept' ORDER BY position")
    assert ids == [row["sample_id"] for row in of_run] and ids


def test_a_higher_threshold_is_a_new_version_without_a_call_and_every_row_that_went_has_the_reason(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, per_leaf=12, curate=CURATE), home=home)
        before = stats(base_url)["requests"]
        made = facts("refilter", "scripted", "critique=4.5", "answer_check=2.9", home=home)
        assert stats(base_url)["requests"] == before
    changes = facts("diff", "scripted-v1", made["version"], home=home)["rows"]
    assert changes and {row["what"] for row in changes} == {"went"}
    assert {row["why"] for row in changes} <= {"critique below 4.5", "answer_check below 2.9"}
    [run] = sql("SELECT kept FROM runs", home)
    assert made["samples"] == run["kept"] - len(changes)


def test_a_lower_threshold_lets_back_in_only_what_every_step_has_seen(home):
    store = Store(home)
    dropped = store.rows("SELECT step, count(*) AS n FROM samples WHERE status = 'dropped' GROUP BY step")
    by_step = {row["step"]: row["n"] for row in dropped}
    assert by_step.get("critique") and by_step.get("question_check"), "the scripted judge turns some down at both"
    made = refilter(store, "scripted", {"critique": 1.0, "question_check": 0.0})
    came = diff(store, "scripted-v1", made.version)
    assert {row["why"] for row in came} == {"was out: critique below 3"}
    assert len(came) == by_step["critique"], "a question that failed its check has no answer to train on"


def test_no_leaf_gets_more_than_its_target_where_the_recipe_balances(tmp_path):
    home = tmp_path / "home"
    curate = [{"critique": {"keep_at": 4.0}}, {"coverage": {"attempts": 4}}]
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, curate=curate), home=home)
    store = Store(home)
    made = refilter(store, "scripted", {"critique": 1.0})
    assert set(Counter(row["leaf"] for row in kept(store, made.version)).values()) == {6}
    why = "SELECT count(*) AS n FROM version_samples WHERE version = ? AND reason = 'over the leaf''s target'"
    assert store.rows(why, [made.version])[0]["n"] != 0


def test_nothing_changed_is_no_new_version(home):
    again = seedbed("refilter", "scripted", home=home)
    assert again.returncode == 0 and "nothing changed" in again.stdout
    assert len(facts("versions", home=home)) == 1


def test_people_go_before_judges_and_an_undone_review_counts_no_more(home):
    store = Store(home)
    first, second = kept(store, "scripted-v1")[:2]
    [poor] = store.rows("SELECT * FROM samples WHERE status = 'dropped' AND step = 'critique' LIMIT 1")
    record(store, "anna", event(first, "drop"))
    record(store, "anna", event(poor, "keep"))
    record(store, "anna", event(second, "edit", edit={"answer": "Better so."}))
    made = refilter(store, "scripted", {})
    now = {row["sample_id"]: row for row in kept(store, made.version)}
    assert first["sample_id"] not in now and poor["sample_id"] in now
    assert now[second["sample_id"]]["answer"] == "Better so."
    reasons = {row["sample_id"]: (row["what"], row["why"]) for row in diff(store, "scripted-v1", made.version)}
    assert reasons == {
        first["sample_id"]: ("went", "dropped by people"),
        poor["sample_id"]: ("came", "was out: critique below 3"),
        second["sample_id"]: ("changed", "edited or turned by people"),
    }
    assert store.rows("SELECT reviews FROM versions WHERE version = ?", [made.version]) == [{"reviews": 3}]
    for _ in range(3):
        assert undo(store, "anna")
    assert undo(store, "anna") is None
    back = refilter(store, made.version, {})
    assert diff(store, "scripted-v1", back.version) == []
    assert store.rows("SELECT count(*) AS n FROM reviews")[0]["n"] == 6, "nothing was deleted"


def test_a_version_is_cut_alike_in_whatever_batches_it_is_read(home):
    store = Store(home)
    rows = kept(store, "scripted-v1")
    assert {row["split"] for row in rows} == {"train", "test"}
    [whole] = version_batches(store, "scripted-v1", 10_000)
    assert whole.to_pylist() == rows


def test_what_reviewers_disagree_on_the_judges_decide(home):
    store = Store(home)
    row = kept(store, "scripted-v1")[0]
    record(store, "anna", event(row, "drop"))
    record(store, "ben", event(row, "keep"))
    made = refilter(store, "scripted", {})
    assert row["sample_id"] in {one["sample_id"] for one in kept(store, made.version)}


def test_a_version_is_frozen_whatever_comes_after(home):
    store = Store(home)
    before = kept(store, "scripted-v1")
    record(store, "anna", event(before[0], "drop"))
    record(store, "anna", event(before[1], "edit", edit={"answer": "Other."}))
    refilter(store, "scripted", {"critique": 5.0})
    assert kept(store, "scripted-v1") == before


def test_a_review_holds_in_another_run_only_where_the_sample_says_the_same(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, curate=CURATE), home=home)
        store = Store(home)
        same, changed = kept(store, "scripted-v1")[:2]
        for row in (same, changed):
            record(store, "anna", event(row, "drop"))
        with store.writing() as db:
            db.execute(
                "UPDATE base.reviews SET content_hash = 'of another text' WHERE sample_id = ?", [changed["sample_id"]]
            )
        facts("run", recipe(tmp_path, base_url, curate=[*CURATE, {"critique": {"keep_at": 1.0}}]), home=home)
    ids = {row["sample_id"] for row in kept(store, "scripted-v2")}
    assert same["sample_id"] not in ids and changed["sample_id"] in ids


def test_export_of_a_version_is_the_version(home, tmp_path):
    store = Store(home)
    row = kept(store, "scripted-v1")[0]
    record(store, "anna", event(row, "edit", edit={"answer": "Better so."}))
    made = refilter(store, "scripted", {})
    for name in ("scripted-v1", "scripted"):
        done = seedbed("export", name, tmp_path / f"{name}.jsonl", home=home)
        assert done.returncode == 0, done.stderr
    old, new = ((tmp_path / f"{name}.jsonl").read_text() for name in ("scripted-v1", "scripted"))
    assert "Better so." not in old and json.loads(new.splitlines()[0])["messages"][1]["content"] == "Better so."
    assert made.version in done.stdout, "a recipe's name stands for its latest version"


def test_a_refilter_that_cannot_be_is_told_what_there_is(home):
    store = Store(home)
    with pytest.raises(InputError, match=r"no step 'critic'.*answer_check, critique, question_check"):
        refilter(store, "scripted", {"critic": 4})
    done = seedbed("refilter", "scripted", "critique:4", home=home)
    assert done.returncode == 2 and "STEP=NUMBER" in done.stderr
    done = seedbed("diff", "scripted-v1", "scripted-v9", home=home)
    assert done.returncode == 2 and "scripted-v1" in done.stderr


@pytest.mark.parametrize("number", ["nan", "-inf"])
def test_a_threshold_that_is_no_finite_number_is_refused_and_nothing_is_stored(home, number):
    done = seedbed("refilter", "scripted", f"critique={number}", home=home)
    assert done.returncode == 2 and f"'critique={number}' is no threshold" in done.stderr
    with pytest.raises(InputError, match="is no threshold: give a finite number"):
        refilter(Store(home), "scripted", {"critique": float(number)})
    assert [row["version"] for row in facts("versions", home=home)] == ["scripted-v1"]


def test_reviews_that_fit_nothing_are_refused(home):
    store = Store(home)
    row = kept(store, "scripted-v1")[0]
    with pytest.raises(InputError, match="does not fit a sample of kind instruction"):
        record(store, "anna", event(row, "chosen"))
    with pytest.raises(InputError, match="leaves an answer"):
        record(store, "anna", event(row, "edit", edit={"answer": "  "}))
    with pytest.raises(InputError, match="say who you are"):
        record(store, " ", event(row, "keep"))
    assert store.rows("SELECT count(*) AS n FROM reviews")[0]["n"] == 0


def test_freezing_again_after_more_rows_makes_the_next_version(home):
    store = Store(home)
    [run] = store.rows("SELECT run_id FROM runs")
    scope = [(str(run["run_id"]), str(t["method"]), str(t["leaf"])) for t in store.rows("SELECT * FROM base.targets")]
    assert not freeze(store, str(run["run_id"]), scope).new
    with store.writing() as db:
        db.execute("INSERT INTO base.samples SELECT * REPLACE ('ffff' AS sample_id) FROM base.samples LIMIT 1")
    assert freeze(store, str(run["run_id"]), scope).version == "scripted-v2"
