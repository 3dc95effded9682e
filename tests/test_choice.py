"""What a version keeps, with which text, and why not: on stores made by hand, where every score is known."""

from __future__ import annotations

import pytest

from curators.revision import pair_of
from seedbed.errors import InputError
from seedbed.records import Revision, Verdict, derived_id
from seedbed.store import Store
from seedbed.store.provenance import origin, published_batches
from seedbed.store.reviews import Event, record, undo
from seedbed.store.versions import diff, refilter, version_batches
from tests.grown import PASSED, RECIPE, Row, pairs, rows, sample, scored, stored
from trainer.rows import rows_of

STEPS: list[dict[str, object]] = [{"name": name, "options": {}} for name in ("rules", "critique", "vote", "rules")]
LATER = {**RECIPE, "curate": STEPS}
TAUGHT = Verdict(step="rules-2", curator="rules", keep=True)


def voted(score: float) -> Verdict:
    return Verdict.scored("vote", "vote", score, 0.5, "voted down", "c")


def revised(n: int, score: float, *later: Verdict) -> list[Row]:
    """A sample whose revision won, its score, what was said of it afterwards, and the pair, as a run leaves them."""
    won = Revision(answer=f"Revised {n}.", author="writer-8b", orders=(0.9, 0.9), margin=0.8)
    verdict = Verdict.scored("critique", "critique", score, 3.5, "critique below 3.5", "c", revision=won)
    against = next((said for said in (verdict, *later) if not said.keep), None)
    end = {"status": "dropped", "step": against.step, "reason": against.reason} if against else {"status": "kept"}
    pair, said = pair_of(sample(n, answer=f"First {n}."), verdict, derived_id(sample(n).sample_id, "critique"))
    pair = pair.model_copy(update=end if verdict.keep else {"status": "kept"})
    one = sample(n, answer=f"Revised {n}." if verdict.keep else f"First {n}.").model_copy(update=end)
    return [(one, (PASSED, verdict, *later)), (pair, (said,))]


def answers(store: Store, version: str) -> dict[str, tuple[str, str]]:
    """(answer, rejected) of what a version keeps, by the sample's number, a pair's with a `+`."""
    rows = store.rows("SELECT * FROM version_samples WHERE version = ? AND kept", [version])
    return {name(row): (str(row["answer"]), str(row["rejected"])) for row in rows}


def name(row: dict[str, object]) -> str:
    ids = {derived_id(sample(n).sample_id, "critique"): f"{n}+" for n in range(40)}
    return ids.get(str(row["sample_id"]), str(row["sample_id"]).lstrip("0") or "0")


def left_out(store: Store, version: str) -> dict[str, tuple[str, str]]:
    rows = store.rows("SELECT * FROM version_samples WHERE version = ? AND NOT kept", [version])
    return {name(row): (str(row["step"]), str(row["reason"])) for row in rows}


def say(store: Store, n: int, action: str, who: str = "anna", pair: bool = False, **edit: str) -> None:
    of = sample(n).sample_id
    record(store, who, Event("run1", derived_id(of, "critique") if pair else of, action, edit or None))


# Revisions


def test_a_lower_threshold_keeps_the_revision_that_the_score_is_of_and_not_the_answer_that_lost(tmp_path):
    store = stored(tmp_path / "home", [*rows(1), *revised(9, 2.5), *revised(12, 1.5)])
    assert answers(store, "desk-v1")["9+"] == ("Revised 9.", "First 9.") and "9" not in answers(store, "desk-v1")
    made = refilter(store, "desk", {"critique": 2.0})
    now = answers(store, made.version)
    assert now["9"] == ("Revised 9.", "") and now["9+"] == ("Revised 9.", "First 9.") and "12" not in now
    [batch] = version_batches(store, made.version)
    assert "Revised 9." in batch["answer"].to_pylist() and "First 9." not in batch["answer"].to_pylist()
    [out] = published_batches(store, made.version, 0.1)
    assert set(out["review"].to_pylist()) == {"none"}, "no person did it"
    changed = "SELECT sample_id FROM version_samples WHERE version = ? AND changed_by_people"
    assert store.rows(changed, [made.version]) == []
    [came] = diff(store, "desk-v1", made.version)
    assert (came["what"], came["why"]) == ("came", "was out: critique below 3.5")
    assert "9" not in answers(store, refilter(store, made.version, {"critique": 3.0}).version)


def test_people_who_kept_or_edited_the_first_answer_keep_it(tmp_path):
    store = stored(tmp_path / "home", [*revised(9, 2.5), *revised(12, 2.6)])
    say(store, 9, "keep")
    say(store, 12, "edit", answer="Better so.")
    made = refilter(store, "desk", {"critique": 2.0})
    now = answers(store, made.version)
    assert now["9"] == ("First 9.", "") and now["12"] == ("Better so.", "")
    assert undo(store, "anna") and undo(store, "anna")
    back = refilter(store, made.version, {})
    assert {row["why"] for row in diff(store, made.version, back.version)} == {
        "no longer edited or turned",
        "the answer and its revision changed places",
    }


@pytest.fixture
def desk(tmp_path):
    """Of four revised samples and their pairs: one is kept, one voted down, one too short at last, one still poor."""
    made = [
        *revised(1, 4.4, voted(0.6), TAUGHT),
        *revised(2, 4.2, voted(0.4)),
        *revised(3, 4.3, voted(0.8), TAUGHT.model_copy(update={"keep": False, "reason": "too short"})),
        *revised(4, 2.0),
    ]
    return stored(tmp_path / "home", made, recipe=LATER)


def test_a_pair_of_a_run_falls_at_its_parents_step_and_only_there(desk):
    assert set(answers(desk, "desk-v1")) == {"1", "1+", "4+"}
    assert left_out(desk, "desk-v1") == {
        "2": ("vote", "voted down"),
        "2+": ("vote", "voted down"),
        "3": ("rules-2", "too short"),
        "3+": ("rules-2", "too short"),
        "4": ("critique", "critique below 3.5"),
    }
    funnel = origin(desk, "desk-v1")["funnel"]
    assert isinstance(funnel, list)
    gone = {row["step"]: row["left_out"] for row in funnel if row["left_out"]}
    assert gone == {"vote": 2, "rules-2": 2, "critique": 1}, "and is counted there"


def test_a_pair_goes_and_comes_with_its_parent_under_another_threshold_of_a_later_step(desk):
    higher = refilter(desk, "desk-v1", {"vote": 0.7})
    assert set(answers(desk, higher.version)) == {"4+"}
    assert left_out(desk, higher.version)["1+"] == ("vote", "vote below 0.7")
    assert left_out(desk, higher.version)["3+"] == ("rules-2", "too short")
    lower = refilter(desk, "desk-v1", {"vote": 0.3})
    seen = left_out(desk, lower.version)
    assert seen["2"] == seen["2+"] == ("rules-2", "never seen by rules-2")


def test_a_pair_comes_in_with_its_parent_where_every_later_step_has_seen_it(tmp_path):
    recipe = {**RECIPE, "curate": STEPS[:3]}
    store = stored(tmp_path / "home", [*rows(0), *revised(2, 4.2, voted(0.4))], recipe=recipe)
    assert answers(store, "desk-v1") == {}
    assert set(answers(store, refilter(store, "desk", {"vote": 0.3}).version)) == {"2", "2+"}


def test_what_the_step_that_made_a_pair_asks_of_the_sample_is_not_asked_of_the_pair(desk):
    made = refilter(desk, "desk-v1", {"critique": 5.0})
    assert set(answers(desk, made.version)) == {"1+", "4+"}
    assert left_out(desk, made.version)["2+"] == ("vote", "voted down")


def test_what_people_say_of_a_sample_holds_for_the_pair_whose_chosen_answer_it_is(desk):
    say(desk, 1, "drop")
    say(desk, 2, "keep")
    say(desk, 4, "drop")
    made = refilter(desk, "desk", {})
    assert set(answers(desk, made.version)) == {"2", "2+", "4+"}, "what was dropped of 4 is the pair's worse answer"
    assert left_out(desk, made.version)["1+"] == ("review", "dropped by people")
    say(desk, 1, "chosen", "ben", pair=True)
    assert "1+" in answers(desk, refilter(desk, "desk", {}).version), "people's word on the pair itself goes first"


# Edits


def test_an_edit_that_leaves_nothing_is_refused_and_one_that_makes_both_answers_the_same_leaves_the_pair_out(tmp_path):
    store = stored(tmp_path / "home", [*rows(2), *pairs(10, 2)])
    for n, field in ((0, "answer"), (0, "question"), (10, "rejected"), (10, "answer")):
        with pytest.raises(InputError, match="leaves an answer"):
            record(store, "anna", Event("run1", sample(n).sample_id, "edit", {field: " \n"}))
    say(store, 0, "edit", context="")  # a text may well go without its context
    say(store, 10, "edit", rejected="  " + sample(10).content.answer.replace("\n", " \u00a0"))
    made = refilter(store, "desk", {})
    assert set(answers(store, made.version)) == {"0", "1", "11"}
    assert left_out(store, made.version) == {"10": ("review", "nothing to train on")}
    say(store, 10, "chosen", "ben")
    assert "10" not in answers(store, refilter(store, "desk", {}).version), "nobody can train on it for all that"


def test_a_pair_that_said_the_same_twice_comes_in_once_people_have_mended_and_chosen(tmp_path):
    twin = sample(10, "preference", rejected=sample(10).content.answer)
    store = stored(tmp_path / "home", [*rows(1), (twin, pairs(10, 1)[0][1])])
    assert left_out(store, "desk-v1")["10"][1] == "nothing to train on"
    say(store, 10, "edit", rejected="Worse.")
    assert "10" in answers(store, refilter(store, "desk", {}).version)


# What people say


def test_a_tie_for_people_leaves_a_pair_out_whatever_the_judge_preferred(tmp_path):
    store = stored(tmp_path / "home", pairs(0, 3))
    say(store, 1, "tie")
    made = refilter(store, "desk", {})
    assert left_out(store, made.version) == {"1": ("review", "a tie for people")}
    assert set(answers(store, made.version)) == {"0", "2"}


def test_a_pair_that_people_turned_and_edited_has_the_edited_texts_in_each_others_place(tmp_path):
    store = stored(tmp_path / "home", pairs(0, 3))
    for n in (0, 1):
        say(store, n, "rejected")
    say(store, 1, "edit", answer="The edited better one.", rejected="The edited other.", question="Asked otherwise?")
    say(store, 2, "edit", rejected="The edited worse one.")
    made = refilter(store, "desk", {})
    found = answers(store, made.version)
    first = sample(0, "preference").content
    assert found["0"] == (first.rejected, first.answer)
    assert found["1"] == ("The edited other.", "The edited better one.")
    assert found["2"] == (sample(2).content.answer, "The edited worse one.")
    asked = store.rows("SELECT question FROM version_samples WHERE version = ? ORDER BY place", [made.version])
    assert asked[1]["question"] == "Asked otherwise?"
    [batch] = published_batches(store, made.version, 0.1)
    assert batch["review"].to_pylist() == ["turned", "edited and turned", "edited"]


def test_over_a_leafs_target_peoples_choice_stays_first_then_what_was_kept_before_then_the_higher_score(tmp_path):
    """Ten rows of one leaf for eight places: 0 to 6 were kept, 7 to 9 come in, 8 of them from a stricter judge."""
    curate = [{"name": "critique", "options": {}}, {"name": "coverage", "options": {}}]
    said = [*(scored(score) for score in [4.0] * 6 + [3.6, 3.1, 3.3, 3.2])]
    said[8] = Verdict.scored("critique", "critique", 4.9, 5.0, "critique below 5", "c")
    made: list[Row] = []
    for n, verdict in enumerate(said):
        end = {} if verdict.keep else {"status": "dropped", "step": "critique", "reason": verdict.reason}
        made.append((sample(n, leaf="writing/poems").model_copy(update=end), (verdict,)))
    store = stored(tmp_path / "home", made, recipe={**RECIPE, "curate": curate})
    assert len(answers(store, "desk-v1")) == 7
    lower = refilter(store, "desk-v1", {"critique": 3.0})
    assert set(answers(store, lower.version)) == {"0", "1", "2", "3", "4", "5", "6", "8"}, "the higher score of the new"
    assert left_out(store, lower.version) == dict.fromkeys("79", ("coverage", "over the leaf's target"))
    say(store, 7, "keep")
    chosen = refilter(store, "desk-v1", {"critique": 3.0})
    assert set(answers(store, chosen.version)) == {"0", "1", "2", "3", "4", "5", "6", "7"}, (
        "people's choice before it, what was kept too"
    )
    say(store, 9, "keep")
    more = refilter(store, "desk-v1", {"critique": 3.0})
    assert set(answers(store, more.version)) == {"0", "1", "2", "3", "4", "5", "7", "9"}, "and before what was kept"


# The split


def test_prompts_that_differ_in_white_space_and_case_only_are_on_one_side_of_the_split(tmp_path):
    spelled = ("Name colour {0}", "name  Colour\u00a0{0}", " Name\n\tcolour {0} ")
    asked = [spelled[n % 3].format(n // 3) for n in range(60)]
    made = [(sample(n, question=text), (PASSED, scored(4.5))) for n, text in enumerate(asked)]
    apart = sample(60, question="0", context="Name colour")
    store = stored(tmp_path / "home", [*made, (apart, (PASSED, scored(4.5)))])
    sides: dict[str, set[bool]] = {}
    for batch in version_batches(store, "desk-v1", held_out=0.3):
        for row in rows_of(batch):
            sides.setdefault(row.prompt_hash, set()).add(row.held_out)
    assert len(sides) == 20 and all(len(side) == 1 for side in sides.values())
    assert {True} in sides.values() and {False} in sides.values()
