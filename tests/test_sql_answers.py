"""What `seedbed sql` answers: a table or records for people, and every value whole, in JSON and CSV, for programs."""

from __future__ import annotations

import csv
import io
import json

import pytest

from flows.screen import Screen
from flows.show import sql
from flows.show_rows import as_csv, as_objects, show_rows
from seedbed.errors import InputError
from seedbed.store import Store
from tests import grown
from tests.attacks.hostile import EVIL, OBEYED
from tests.ptys import on_terminal, piped


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with_rows = grown.stored(tmp_path_factory.mktemp("answers") / "home", [(grown.sample(n), ()) for n in range(150)])
    yield with_rows
    with_rows.close()


def shown(store: Store, statement: str, limit: int | None = None, columns: int = 80) -> list[str]:
    """The lines of the answer on a terminal of so many columns."""
    screen = Screen()
    screen.file, screen.width = io.StringIO(), columns
    show_rows(screen, sql(store, statement), limit)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_what_is_too_wide_for_a_table_is_told_row_by_row_with_its_ids_whole(store, columns):
    lines = shown(store, "SELECT * FROM samples ORDER BY position", 2, columns)
    assert [line.split(" ─")[0] for line in lines if line.startswith("row ")] == ["row 1", "row 2"]
    assert f"sample_id   {0:020d}" in lines and "run_id      run1" in lines
    assert max(map(len, lines)) <= columns and "… and 148 more rows" in " ".join(lines)


def test_records_are_twenty_where_nobody_says_how_many(store):
    lines = shown(store, "SELECT * FROM samples")
    assert sum(line.startswith("row ") for line in lines) == 20 and lines[-1].startswith("… and 130 more rows")


def test_a_table_that_fits_is_a_table_with_names_whole_and_numbers_to_the_right(store):
    lines = shown(store, "SELECT sample_id, leaf, ordinal + 5 AS n FROM samples ORDER BY 1 LIMIT 9")
    assert lines[0].split() == ["sample_id", "leaf", "n"] and len(lines) == 10
    assert all(line.startswith(f"{n:020d}  writing/") for n, line in enumerate(lines[1:]))
    assert lines[1].index("5") == lines[6].index("10") + 1


def test_a_cell_longer_than_a_screen_says_what_it_left_out_and_programs_have_it_whole(store):
    statement = "SELECT sample_id, 1 AS a, 2 AS b, repeat('lorem ipsum ', 18400) AS big FROM samples LIMIT 1"
    lines = shown(store, statement)
    assert "… (219,200 more characters: --json or --csv has them)" in " ".join(" ".join(lines).split())
    assert len(lines) < 40
    tall = shown(store, "SELECT repeat('x' || chr(10), 300) AS tall")
    assert len(tall) < 30 and "(561 more characters" in tall[-1]
    assert len(str(as_objects(sql(store, statement))[0]["big"])) == 220_800


def test_a_table_has_a_hundred_rows_and_says_how_many_more_there_are(store):
    lines = shown(store, "SELECT sample_id FROM samples")
    assert len(lines) == 102
    assert lines[-1] == "… and 50 more rows: --limit N shows N, --json and --csv have all"
    assert len(shown(store, "SELECT sample_id FROM samples", 150)) == 151


def test_numbers_have_the_digits_that_they_mean_and_whole_ones_for_programs(store):
    sums = "0.1::DOUBLE + 0.2::DOUBLE AS a, 0.9482759237289::DOUBLE AS b, 1.10::DECIMAL(4, 2) AS c"
    statement = f"SELECT {sums}, [1 / 3] AS d, true AS e"
    assert shown(store, statement)[1].split() == ["0.3", "0.948276", "1.10", "[0.333333]", "true"]
    answer = sql(store, statement)
    assert list(as_csv(answer))[1] == "0.30000000000000004,0.9482759237289,1.10,[0.3333333333333333],true"
    assert as_objects(answer)[0]["a"] == 0.30000000000000004


def test_csv_in_a_pipe_is_the_data_to_the_byte_and_on_a_terminal_has_no_power(store):
    statement = (
        f"SELECT '{EVIL}' AS evil, '=1+1' AS formula, NULL AS nothing, '' AS empty, 'a,\"b' || chr(10) AS quoted"
    )
    raw = piped("sql", statement, "--csv", home=store.home, PYTHONIOENCODING="ascii").decode()
    names, row = csv.reader(io.StringIO(raw, newline=""))
    assert names == ["evil", "formula", "nothing", "empty", "quoted"]
    assert row == [EVIL, "=1+1", "", "", 'a,"b\n'] and ',=1+1,,"",' in raw
    asked = ["sql", statement, "--csv"], ["sql", statement, "--json"], ["sql", statement, "--json", "--csv"]
    found = on_terminal(*asked, home=store.home)
    told = found.partition("exit 0\n")[2].partition("exit 0\n")[0]
    assert not OBEYED.search(found) and json.loads(told)[0]["evil"] == EVIL
    assert "two forms of one answer: choose one" in found and found.endswith("exit 2\n")


def test_json_and_csv_have_all_rows_or_as_many_as_are_asked_for(store):
    asked = ("sql", "SELECT sample_id FROM samples")
    assert piped(*asked, "--csv", home=store.home).count(b"\n") == 151
    assert len(json.loads(piped(*asked, "--json", "--limit", 7, home=store.home))) == 7


def test_csv_of_no_rows_still_has_its_names_and_columns_of_one_name_are_all_there(store):
    assert list(as_csv(sql(store, "SELECT 1 AS a, 2 AS a WHERE false"))) == ["a,a"]
    both = sql(store, "SELECT 1 AS a, 2 AS a")
    assert list(as_csv(both)) == ["a,a", "1,2"] and shown(store, "SELECT 1 AS a, 2 AS a") == ["a  a", "1  2"]
    with pytest.raises(InputError, match="several columns are called a"):
        as_objects(both)
