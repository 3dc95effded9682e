"""What a person's edit says passes the gates that ask no model, or it stays out of the version, with the reason."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import yaml

from seedbed.conversation import Response
from seedbed.conversation_json import content_of
from seedbed.store import Store
from seedbed.store.reviews import Event, record
from seedbed.store.versions import version_batches
from tests.answering import answering, grown, last, odds, system
from tests.answering import chat as said
from tests.asked import sql
from tests.test_rows import chat, own, write
from tests.test_run import facts, seedbed

BENCHMARK = "How many apples has Anna left when she gives seven of her twelve apples to Ben on Monday morning?"


def edit(home: Path, question: str, **texts: str) -> None:
    with closing(Store(home)) as store:
        [row] = store.rows("SELECT run_id, sample_id FROM samples WHERE contains(question, ?)", [question])
        record(store, "anna", Event(str(row["run_id"]), str(row["sample_id"]), "edit", edit=texts))


def version(home: Path) -> dict[str, tuple[bool, str, str]]:
    made = json.loads(seedbed("refilter", "own", "--json", home=home).stdout)["version"]
    rows = sql(f"SELECT answer, kept, step, reason FROM version_samples WHERE version = '{made}'", home)
    return {str(row["answer"]): (row["kept"], row["step"], row["reason"]) for row in rows}


def test_an_edit_that_a_gate_turns_down_stays_out_and_another_edit_of_it_goes_in(tmp_path):
    write(tmp_path, [chat(n) for n in (111, 222, 333)])
    home = tmp_path / "home"
    assert facts("run", own(tmp_path, ["rules"]), home=home)["run"]["kept"] == 3
    refusal = "I'm sorry, but I can't assist with that request."
    edit(home, "111", answer=refusal)
    edit(home, "222", answer="It has three twos, which look like swans on a lake.")
    found = version(home)
    assert found[refusal] == (False, "rules", "edited: refusal")
    assert found["It has three twos, which look like swans on a lake."] == (True, "", "")
    edit(home, "111", answer="It is three ones, like fence posts in a row.")
    assert version(home)["It is three ones, like fence posts in a row."] == (True, "", "")


def test_an_edit_is_compared_with_the_benchmarks_of_its_run_also_when_nobody_can_any_more(tmp_path):
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": BENCHMARK}) + "\n")
    write(tmp_path, [chat(n) for n in (111, 222)])
    home = tmp_path / "home"
    gates: list[object] = [{"decontaminate": {"against": ["bench.jsonl"]}}]
    assert facts("run", own(tmp_path, gates), home=home)["run"]["kept"] == 2
    edit(home, "111", answer=f"Here is one. {BENCHMARK}")
    kept, step, reason = version(home)[f"Here is one. {BENCHMARK}"]
    assert (kept, step) == (False, "decontaminate") and "bench.jsonl" in reason
    (tmp_path / "bench.jsonl").unlink()
    edit(home, "222", answer="It looks like swans on a lake.")
    kept, step, reason = version(home)["It looks like swans on a lake."]
    assert (kept, step) == (False, "decontaminate") and "bench.jsonl" in reason


def test_an_edit_that_says_what_another_row_says_stays_out(tmp_path):
    write(tmp_path, [chat(1, "It is the first of them all."), chat(1, "It stands alone, as a tower does.")])
    home = tmp_path / "home"
    assert facts("run", own(tmp_path, ["exact_duplicates"]), home=home)["run"]["kept"] == 2
    with closing(Store(home)) as store:
        [row] = store.rows("SELECT run_id, sample_id FROM samples WHERE starts_with(answer, 'It stands')")
        told = {"answer": "It is the first of them ALL."}
        record(store, "anna", Event(str(row["run_id"]), str(row["sample_id"]), "edit", edit=told))
    kept, step, reason = version(home)["It is the first of them ALL."]
    assert (kept, step) == (False, "exact_duplicates") and "says what" in reason


def test_an_edit_that_was_undone_leaves_the_row_as_it_was(tmp_path):
    from seedbed.store.reviews import undo

    write(tmp_path, [chat(111)])
    home = tmp_path / "home"
    facts("run", own(tmp_path, ["rules"]), home=home)
    edit(home, "111", answer="I'm sorry, but I can't assist with that request.")
    assert not any(kept for kept, *_ in version(home).values())
    with closing(Store(home)) as store:
        undo(store, "anna")
    assert [kept for kept, *_ in version(home).values()] == [True]


def test_an_edited_answer_leaves_the_reasoning_of_the_one_before_it_behind(tmp_path):
    turns = [
        {"role": "user", "content": "Why is 111 so well liked by people?"},
        {"role": "assistant", "content": "Because it is a palindrome.", "reasoning_content": "It reads alike."},
    ]
    write(tmp_path, [{"messages": turns, "topic": "a"}])
    home = tmp_path / "home"
    facts("run", own(tmp_path, ["rules"]), home=home)
    with closing(Store(home)) as store:
        [before] = [row for batch in version_batches(store, "own-v1") for row in batch.to_pylist()]
    assert content_of(before).responses[0].reasoning == "It reads alike."
    edit(home, "111", answer="It is three ones, like fence posts in a row.")
    version(home)
    with closing(Store(home)) as store:
        [after] = [row for batch in version_batches(store, "own-v2") for row in batch.to_pylist()]
    assert content_of(after).responses[0] == Response("It is three ones, like fence posts in a row.")


def test_two_rows_that_were_revised_to_the_same_words_are_one_in_the_end(tmp_path):
    """What no step before could see: they were two until a reviser made them one."""
    better = "Ice floats, for it is lighter than the water that it is made of."
    rows = [chat(1, answer) for answer in ("Because.", "It does.", better, "It is light.")]
    rows[2] = chat(2, better)  # on another request
    write(tmp_path, rows)

    def script(request):
        asked = system(request)
        if "You correct answers" in asked:
            return said(better)
        if request.get("logprobs") and "letter only" in asked:
            first = last(request).split("Answer A: ")[1].split("\nAnswer B:")[0]
            return odds({"A": 0.9, "B": 0.09} if first == better else {"B": 0.9, "A": 0.09})
        if request.get("logprobs"):
            return odds({"5": 0.9, "4": 0.09} if better in last(request) else {"1": 0.9, "2": 0.09})
        return said("It is too short.")

    home = tmp_path / "home"
    with answering(script) as server:
        path = own(tmp_path, ["exact_duplicates", {"critique": {"keep_at": 3.5, "revise_below": 4}}])
        told = yaml.safe_load(path.read_text())
        told["model"] = {"engine": "http", "base_url": server.base_url, "model": "m"}
        path.write_text(yaml.safe_dump(told))
        first = grown(path, home)
        asked = len(server.asked)
        again = grown(path, home)
        assert len(server.asked) == asked, "a run that is done costs nothing"
    states = sql("SELECT status, step, reason FROM samples WHERE derived = '' ORDER BY position", home)
    assert [row["status"] for row in states] == ["kept", "dropped", "kept", "dropped"]
    assert states[1]["step"] == "exact_duplicates-again" and states[1]["reason"] == "exact duplicate"
    assert first.progress.kept == 2 and again.version == first.version
    kept = sql("SELECT count(*) AS n FROM version_samples WHERE kept AND kind = 'instruction'", home)
    assert kept == [{"n": 2}]
