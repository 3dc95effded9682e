"""Ids as people write them: whole, or as much of the beginning as says which one is meant."""

from __future__ import annotations

import pytest

from flows.export import kept_of
from flows.show import life
from seedbed.errors import InputError
from seedbed.store.runs import find_run
from seedbed.store.versions import find_version, refilter
from tests import grown
from tests.test_run import facts, seedbed

ONE, OTHER = "a8491574769e", "a84c5d11fe92"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two runs of one recipe whose ids begin alike, and one of another whose name begins as an id does."""
    home = tmp_path_factory.mktemp("beginnings") / "home"
    for n, run_id in enumerate((ONE, OTHER)):
        made = [(grown.sample(at), (grown.PASSED, grown.scored(4.2))) for at in range(10 * n, 10 * n + 4)]
        grown.stored(home, made, run_id=run_id).close()
    recipe = {**grown.RECIPE, "name": "a84"}
    found = grown.stored(home, [(grown.sample(40), (grown.PASSED,))], recipe=recipe, run_id="ffff00001111")
    yield found
    found.close()


def test_the_beginning_of_an_id_is_enough_where_it_is_one_ids(store):
    assert find_run(store, "a849") == ONE and find_run(store, "a84c") == OTHER
    assert find_version(store, "a849") == "desk-v1" and find_version(store, "desk-v1") == "desk-v1"
    assert find_version(store, "ff") == "a84-v1" and kept_of(store, "ff").what == "a84-v1"
    assert life(store, f"{3:020d}"[:19] + "3")[0]["run_id"] == ONE


def test_a_whole_name_goes_before_what_begins_with_it(store):
    assert find_run(store, "a84") == "ffff00001111" and find_version(store, "a84") == "a84-v1"
    assert find_run(store, "desk") == OTHER and find_version(store, "desk") == "desk-v2"
    assert kept_of(store, "desk").what == "desk-v2"


def test_an_ambiguous_beginning_is_refused_with_its_candidates(store):
    with pytest.raises(InputError, match=f"2 begin with 'a8': {OTHER}, {ONE}. Write more of it"):
        find_run(store, "a8")
    for resolve in (find_version, kept_of):
        with pytest.raises(InputError, match="2 begin with 'desk-v': desk-v2, desk-v1"):
            resolve(store, "desk-v")
    with pytest.raises(InputError, match=r"9 begin with '0000': 0{20}, .* and 1 more. Write more of it"):
        life(store, "0000")


def test_what_nothing_begins_with_is_refused_with_what_there_is(store):
    for resolve in (find_run, find_version):
        for name in ("b", ""):
            with pytest.raises(InputError, match=r"There are: .*desk"):
                resolve(store, name)


def test_of_several_versions_of_a_run_its_beginning_means_the_latest(tmp_path):
    store = grown.stored(
        tmp_path, [(grown.sample(n), (grown.PASSED, grown.scored(4 + n))) for n in range(2)], run_id=ONE
    )
    made = refilter(store, "desk", {"critique": 4.5})
    assert made.new and find_version(store, "a84") == made.version == "desk-v2"
    store.close()


def test_every_command_takes_a_beginning(store, tmp_path):
    home, path = store.home, tmp_path / "x.jsonl"
    assert [run["run_id"] for run in facts("status", "a849", home=home)] == [ONE]
    assert f"leaves of {ONE}" in seedbed("status", "a849", home=home).stdout
    assert "rows of desk-v1 in" in seedbed("export", "a849", path, home=home).stdout
    assert facts("diff", "a849", "a84c", home=home)["old"] == "desk-v1"
    assert facts("refilter", "a849", "critique=3.5", home=home)["parent"] == "desk-v1"
    assert facts("why", f"{12:020d}"[:20], home=home)[0]["run_id"] == OTHER
    told = seedbed("train", "ff", home=home)
    assert told.returncode == 2 and "no row is" in told.stderr, "found, and too small"
