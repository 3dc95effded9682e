"""`seedbed export`: what is asked for is in the file, every row leads back to its life, and what is not is told."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from flows.cli import app
from seedbed.conversation import Content, Response, Turn
from seedbed.errors import InputError
from seedbed.store.versions import least_share
from tests.grown import PASSED, pairs, rows, sample, scored, stored


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Sixty samples of two leaves, one of them a dialogue, and ten pairs."""
    folder = tmp_path_factory.mktemp("export") / "home"
    talk = Content.of([Turn("system", "Be brief."), Turn("user", "Name a colour")], [Response("Red.")])
    told = sample(59, kind="dialogue").model_copy(update={"content": talk, "parents": ("chunk-1", "chunk-2")})
    stored(folder, [*rows(59), (told, (PASSED, scored(4.5))), *pairs(60, 10)]).close()
    return folder


def ran(home: Path, *words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words), "--home", str(home)])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def refused(home: Path, *words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words), "--home", str(home)])
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


def read(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_every_row_can_be_traced_from_the_file_alone(home, tmp_path):
    said = ran(home, "export", "desk", tmp_path / "rows.jsonl")
    both = read(tmp_path / "rows.jsonl") + read(tmp_path / "rows.test.jsonl")
    assert len(both) == 60 and f"held-out rows in {tmp_path / 'rows.test.jsonl'}" in said
    assert "10 others with --form preference" in said
    for row in (both[0], both[-1]):
        assert row["leaf"] in ran(home, "why", row["id"])
    [talk] = [row for row in both if row["kind"] == "dialogue"]
    assert talk["source"] == "chunk-1, chunk-2" and talk["scores"][0]["score"] == 4.5
    assert talk["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_bare_file_has_the_columns_of_its_type_only(home, tmp_path):
    ran(home, "export", "desk", tmp_path / "pairs.jsonl", "--form", "preference", "--bare", "--split", "all")
    assert {tuple(row) for row in read(tmp_path / "pairs.jsonl")} == {("prompt", "chosen", "rejected")}


def test_a_leaf_a_side_and_a_condition_choose_rows(home, tmp_path):
    path = tmp_path / "rows.jsonl"
    ran(home, "export", "desk", path, "--leaf", "writing/poems/", "--split", "all")
    assert {row["leaf"] for row in read(path)} == {"writing/poems"} and len(read(path)) == 20
    ran(home, "export", "desk", path, "--where", "critique > 4 and leaf like '%letters'", "--split", "train")
    assert all(row["scores"][0]["score"] > 4 and row["leaf"] == "writing/letters" for row in read(path))
    assert {row["split"] for row in read(path)} == {"train"} and read(path)
    ran(home, "export", "desk", path, "--split", "test", "--held-out", "0.5")
    assert {row["split"] for row in read(path)} == {"test"} and 15 < len(read(path)) < 45


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--where", "critik > 4"), "--where 'critik > 4' is no condition on a version's rows"),
        (("--where", "1=1) UNION (SELECT 1"), "is no condition"),
        (("--leaf", "writing/prose"), "nothing to export: desk-v1 holds no row in leaf writing/prose. `seedbed sql"),
        (("--form", "vicuna"), "unknown form 'vicuna'"),
        (("--form", "kto"), "nothing to export as kto: 60 others with --form messages; 10 others with"),
        (("--held-out", "1"), "all 60 rows are held out. Lower --held-out"),
        (("--form", "alpaca", "--reasoning"), "alpaca has no place for reasoning"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_says_why_and_writes_nothing(home, tmp_path, asked, said):
    assert said in refused(home, "export", "desk", tmp_path / "rows.jsonl", *asked)
    assert not list(tmp_path.iterdir())


def test_a_row_that_a_form_cannot_hold_is_counted_in_the_last_line(home, tmp_path):
    said = ran(home, "export", "desk", tmp_path / "rows.csv", "--split", "all")
    assert (
        "59 rows of desk-v1" in said and "1 left out that the form cannot hold: 1 x several turns or a system" in said
    )
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["prompt"] == "Question 0, is it “0”?"


def test_a_version_too_small_to_hold_a_row_out_says_which_share_would(tmp_path):
    store = stored(tmp_path / "home", rows(2))
    least = least_share(store, "desk-v1")
    assert least > 0.1
    said = ran(store.home, "export", "desk", tmp_path / "rows.jsonl")
    assert f"no row is held out: --held-out {least:g} is the least that holds one out" in said
    assert f"--held-out {least:g}" in refused(store.home, "export", "desk", tmp_path / "a.jsonl", "--split", "test")
    (tmp_path / "rows.test.jsonl").write_text("old")
    said = ran(store.home, "export", "desk", tmp_path / "rows.jsonl")
    assert f"and {tmp_path / 'rows.test.jsonl'} is of an earlier export" in said
    ran(store.home, "export", "desk", tmp_path / "rows.jsonl", "--held-out", least)
    assert len(read(tmp_path / "rows.test.jsonl")) == 1


def test_a_run_that_has_no_version_gives_what_it_has_kept_on_the_sides_that_it_will_be_on(tmp_path):
    home = tmp_path / "home"
    store = stored(home, rows(40))
    ran(home, "export", "desk-v1", tmp_path / "later.jsonl")
    with store.writing() as db:
        db.execute("DELETE FROM base.versions; UPDATE base.runs SET status = 'stopped'")
    said = ran(home, "export", "desk", tmp_path / "now.jsonl")
    assert "this is what it has kept so far" in said
    for name in ("{}.jsonl", "{}.test.jsonl"):
        now, later = (read(tmp_path / name.format(when)) for when in ("now", "later"))
        assert now == later and now
    assert "has no version yet" in refused(home, "export", "desk", tmp_path / "a.jsonl", "--leaf", "a")
