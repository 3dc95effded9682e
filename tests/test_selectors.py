"""Selectors of versions: the best of each leaf, taken again without a call, people first, and with their evidence."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import BaseModel

from benchmarks.mock_server import running
from curators.best import Best, best
from flows.methods import SELECTORS, Methods, Selector, methods
from flows.selections import refiltered, selections_of
from seedbed.errors import InputError
from seedbed.records import Content, Sample, Verdict
from seedbed.store import Store
from seedbed.store.reviews import Event, record
from seedbed.store.rows import Judged
from seedbed.store.selecting import Selection
from seedbed.store.versions import freeze, refilter, version_batches
from tests.handmade import add
from tests.test_run import facts, recipe, seedbed, sql, stats

CURATE: list[object] = [
    "exact_duplicates",
    "rules",
    {"critique": {"keep_at": 1.0}},
    {"best": {"per_leaf": 8, "by": "critique"}},
]
SCORES = """
SELECT s.leaf, s.sample_id, v.score, r.kept, r.reason FROM base.version_rows r JOIN samples s USING (run_id, sample_id)
JOIN verdicts v USING (run_id, sample_id) WHERE version = ? AND v.step = 'critique' AND s.status = 'kept'
"""


@pytest.fixture
def home(tmp_path):
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, per_leaf=12, curate=CURATE), home=tmp_path / "home")
    return tmp_path / "home"


def test_a_version_holds_the_best_of_each_leaf_and_says_of_the_others_why_they_are_out(home):
    rows = Store(home).rows(SCORES, ["scripted-v1"])
    leaves = {str(row["leaf"]) for row in rows}
    for leaf in leaves:
        mine = [row for row in rows if row["leaf"] == leaf]
        kept = [float(str(row["score"])) for row in mine if row["kept"]]
        out = [float(str(row["score"])) for row in mine if not row["kept"]]
        assert len(kept) == min(8, len(mine)) and min(kept) >= max(out, default=0)
    assert {row["reason"] for row in rows} == {"", "not among the best 8 of its leaf"}
    assert len({row["score"] for row in rows}) > 1, "else any order would do"
    assert leaves and sql("SELECT kept FROM runs", home)[0]["kept"] == len(rows), "the run's own books are untouched"


def test_the_evidence_is_kept_and_told_of_each_row(home):
    [out, *_] = sql("SELECT * FROM selections WHERE NOT keep ORDER BY sample_id", home)
    evidence = json.loads(str(out["evidence"]))
    assert evidence["by"] == "critique" and evidence["rank"] > 8 and evidence["of"] >= evidence["rank"]
    assert float(str(out["threshold"])) >= float(str(out["score"]))
    told = seedbed("why", str(out["sample_id"]), home=home).stdout
    assert "not among the best 8" in told and "scripted-v1" in told and '"rank"' in told
    assert sql("SELECT count(*) AS n FROM selections", home)[0]["n"] == len(Store(home).rows(SCORES, ["scripted-v1"]))


def test_another_threshold_has_it_select_again_without_a_call(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, per_leaf=12, curate=CURATE), home=home)
        before, cut = stats(base_url)["requests"], max(scores(home, "scripted-v1"))
        made = facts("refilter", "scripted", f"critique={cut}", home=home)
        assert stats(base_url)["requests"] == before
    assert 0 < len(scores(home, made["version"])) < len(scores(home, "scripted-v1"))
    assert set(scores(home, made["version"])) == {cut}
    [said] = sql(f"SELECT count(*) AS n FROM selections WHERE version = '{made['version']}'", home)
    rows = Store(home).rows(SCORES, [made["version"]])
    assert said["n"] == sum(float(str(row["score"])) >= cut for row in rows), "it saw what was left, and no more"
    again = facts("refilter", "scripted", f"critique={cut}", home=home)
    assert again["version"] == made["version"] and not again["new"]


def scores(home, version):
    return [float(str(row["score"])) for row in Store(home).rows(SCORES, [version]) if row["kept"]]


def test_what_people_keep_comes_first_and_is_never_dropped(home):
    store = Store(home)
    out = [row for row in store.rows(SCORES, ["scripted-v1"]) if not row["kept"]]
    worst = min(out, key=lambda row: float(str(row["score"])))
    [run] = store.rows("SELECT run_id FROM runs")
    record(store, "anna", Event(str(run["run_id"]), str(worst["sample_id"]), "keep"))
    made = refiltered(store, "scripted", {})
    kept = {row["sample_id"]: row["leaf"] for b in version_batches(store, made.version) for row in b.to_pylist()}
    assert worst["sample_id"] in kept
    assert list(kept.values()).count(worst["leaf"]) == 8, "it takes the place of another"


def test_what_people_keep_beyond_the_number_is_told_as_kept(home):
    store = Store(home)
    [run] = store.rows("SELECT run_id FROM runs")
    rows = store.rows(SCORES, ["scripted-v1"])
    leaf = next(row["leaf"] for row in rows if not row["kept"])
    mine = {row["sample_id"] for row in rows if row["leaf"] == leaf}
    for sample_id in mine:
        record(store, "anna", Event(str(run["run_id"]), str(sample_id), "keep"))
    made = refiltered(store, "scripted", {})
    kept = {row["sample_id"] for batch in version_batches(store, made.version) for row in batch.to_pylist()}
    said = store.rows("SELECT sample_id, keep, reason FROM selections WHERE version = ?", [made.version])
    assert mine <= kept and len(mine) > 8
    assert {(row["keep"], row["reason"]) for row in said if row["sample_id"] in mine} == {(True, "")}


def by_hand(home, rows):
    """A store of rows on one leaf; each is (id, derived, parents, [(step, score or None, reason)])."""
    store = Store(home)
    judged = []
    for n, (sample_id, derived, parents, said) in enumerate(rows):
        kind = "preference" if derived else "instruction"
        content = Content(f"question {n}", f"answer {n}", rejected=f"worse {n}" if derived else "")
        names = {"sample_id": sample_id, "kind": kind, "method": "skills", "leaf": "a", "derived": derived}
        sample = Sample(**names, parents=parents, ordinal=n, attempt=0, content=content, status="kept")
        verdicts = [
            Verdict(step=step, curator="critique", keep=True, score=score, reason=why) for step, score, why in said
        ]
        judged.append(Judged(n, sample, tuple(verdicts)))
    add(store, judged)
    return store


def chosen(store, per_leaf):
    best_of = Selection("best", "best", lambda rows: best(rows, Best(per_leaf=per_leaf, by="critique")))
    made = freeze(store, "run1", [("run1", "skills", "a")], [best_of])
    return [row["sample_id"] for batch in version_batches(store, made.version) for row in batch.to_pylist()]


def test_a_row_that_an_earlier_judge_settled_is_not_worse_than_one_that_was_scored(tmp_path):
    settled = [("glance", 0.9, ""), ("critique", None, "settled by glance")]
    rows = [
        ("low", "", (), [("critique", 2.0, "")]),
        ("sure", "", (), settled),
        ("high", "", (), [("critique", 4.0, "")]),
    ]
    assert chosen(by_hand(tmp_path, rows), 2) == ["sure", "high"]


def test_the_score_of_words_that_were_changed_is_the_one_of_the_second_look(tmp_path):
    looked = [("critique", 4.8, ""), ("critique-again", 1.5, "")]
    rows = [("once", "", (), looked), ("fine", "", (), [("critique", 3.0, "")])]
    assert chosen(by_hand(tmp_path, rows), 1) == ["fine"]


def test_pairs_that_came_of_revisions_are_chosen_among_themselves_by_their_samples_scores(tmp_path):
    rows = [
        ("s1", "", (), [("critique", 2.0, "")]),
        ("s2", "", (), [("critique", 4.0, "")]),
        ("p1", "critique", ("s1",), [("preference", 0.9, "")]),
        ("p2", "critique", ("s2",), [("preference", 0.2, "")]),
    ]
    store = by_hand(tmp_path, rows)
    assert chosen(store, 1) == ["s2", "p2"]


@pytest.mark.parametrize(
    ("curate", "reason"),
    [
        (["rules", {"best": {"per_leaf": 2, "by": "critique"}}], "goes by the scores of 'critique'.*none does"),
        (["rules", {"best": {"per_leaf": 2, "by": "rules"}}], "goes by the scores of 'rules'"),
        ([{"best": {"per_leaf": 2, "by": "critique"}}, "critique"], "write it behind `critique`"),
        (["critique", {"best": {"per_leaf": 0, "by": "critique"}}], "per_leaf"),
        (["critique", {"best": {"per_leaf": 2}}], "by"),
    ],
)
def test_a_selector_in_the_wrong_place_is_refused_before_the_run(tmp_path, curate, reason):
    with running() as base_url:
        done = seedbed("run", recipe(tmp_path, base_url, curate=curate), home=tmp_path / "home")
        assert stats(base_url)["requests"] == 0
    assert done.returncode == 2
    assert re.search(reason, done.stderr.replace("\n", " ")), done.stderr


class Shortest(BaseModel):
    """It has no options."""


def shortest(rows, options: Shortest):
    """A selector of another package, in Arrow: the rows with the shortest answers stay."""
    import pyarrow.compute as pc

    table = rows.select("run_id, sample_id, answer").to_arrow_table()
    length = pc.utf8_length(table["answer"])
    keep = pc.less_equal(length, pc.min(length))
    return table.select(["run_id", "sample_id"]).append_column("keep", keep).append_column("score", length)


def test_a_selector_of_another_package_works_on_arrow_and_needs_no_line_of_ours(home, monkeypatch):
    def more() -> Methods:
        known = methods()
        return Methods(known.generators, known.judges, SELECTORS | {"shortest": Selector(Shortest, shortest)})

    store = Store(home)
    with store.writing() as db:
        db.execute("UPDATE base.steps SET step = 'shortest', method = 'shortest', options = '{}' WHERE method = 'best'")
        db.execute("UPDATE base.runs SET recipe_json = replace(recipe_json, '\"best\"', '\"shortest\"')")
    with pytest.raises(InputError, match=r"'shortest'.*install the package"):
        refiltered(store, "scripted", {})
    monkeypatch.setattr("flows.selections.methods", more)
    made = refiltered(store, "scripted", {})
    lengths = store.rows("SELECT length(answer) AS n FROM samples WHERE status = 'kept' ORDER BY n")
    kept = [row for batch in version_batches(store, made.version) for row in batch.to_pylist()]
    assert kept and {len(str(row["answer"])) for row in kept} == {lengths[0]["n"]}


@pytest.mark.parametrize(
    "fault",
    [
        "SELECT run_id, sample_id, true AS keep FROM rows LIMIT 1",
        "SELECT run_id, sample_id, true AS keep FROM rows UNION ALL SELECT run_id, sample_id, false FROM rows",
        "SELECT run_id, sample_id || 'x' AS sample_id, true AS keep FROM rows",
        "SELECT run_id, sample_id, NULL::BOOLEAN AS keep FROM rows",
        "SELECT run_id, sample_id FROM rows",
    ],
)
def test_a_selector_that_does_not_say_one_thing_of_each_row_makes_no_version(home, fault):
    store = Store(home)
    [run] = store.rows("SELECT run_id FROM runs")
    odd = Selection("odd", "odd", lambda rows: rows.query("rows", fault))
    before = store.rows("SELECT version FROM versions")
    with pytest.raises(InputError, match="the selector odd is at fault"):
        refilter(store, "scripted", {"critique": 3.0}, [*selections_of(store, str(run["run_id"])), odd])
    assert store.rows("SELECT version FROM versions") == before


def test_lineage_walks_from_any_row_to_its_parents_and_children(tmp_path):
    store = Store(tmp_path)
    family = [("a", "skills", "", ["leaf#1"]), ("b", "skills", "critique", ["a"]), ("c", "skills", "debate", ["b"])]
    with store.writing() as db:
        for sample_id, method, derived, parents in family:
            db.execute(
                "INSERT INTO base.samples (run_id, sample_id, method, derived, parents) VALUES ('r', ?, ?, ?, ?)",
                [sample_id, method, derived, parents],
            )
        db.execute(
            "INSERT INTO base.samples (run_id, sample_id, method, derived, parents) VALUES ('s', 'a', 'm', '', [])"
        )

    def relatives(sample_id: str, what: str) -> list[tuple[object, ...]]:
        found = store.rows(
            "SELECT relative, is_row, distance, step FROM lineage WHERE run_id = 'r' AND sample_id = ? AND what = ? "
            "ORDER BY distance",
            [sample_id, what],
        )
        return [tuple(row.values()) for row in found]

    assert relatives("c", "parent") == [
        ("b", True, 1, "debate"),
        ("a", True, 2, "critique"),
        ("leaf#1", False, 3, "skills"),
    ]
    assert relatives("a", "child") == [("b", True, 1, "critique"), ("c", True, 2, "debate")]
    assert relatives("b", "child") == [("c", True, 1, "debate")] and not relatives("c", "child")
    assert not store.rows("SELECT * FROM lineage WHERE run_id = 's'"), "another run's row of this id is no relative"
