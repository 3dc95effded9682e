"""The ablation: labels that are certain, arms at equal tokens, nothing paid twice, a table also when debate loses."""

from __future__ import annotations

import random
import signal

import pytest

from benchmarks.mock_server import running
from curators.planted import opposite, other_number, planted
from flows.ablate import Row, _conclusion
from seedbed.records import Leaf, Seed
from seedbed.taxonomy import read_taxonomy
from tests.test_run import ROOT, await_requests, facts, recipe, seedbed, sql, start, stats


def test_half_of_the_items_are_the_seeds_and_half_have_a_fault_that_is_one():
    leaves = read_taxonomy(ROOT / "taxonomies" / "starter")
    items = planted(leaves, 20)
    answers = {(seed.question, seed.answer) for leaf in leaves for seed in leaf.seeds}
    assert len(items) == 20 and [bool(item.fault) for item in items] == [False, True] * 10
    for item in items:
        content = item.sample.content
        assert ((content.question, content.answer) in answers) is (not item.fault), item
    assert {item.fault for item in items} >= {"", "another answer", "opposite"}
    assert planted(leaves, 20) == items, "the same every time"
    assert len({item.sample.sample_id for item in items}) == 20


@pytest.mark.parametrize(
    ("rule", "answer", "expected"),
    [
        (other_number, "None here.", None),
        (opposite, "Ice is cold.", "Ice is not cold."),
        (opposite, "It was not so.", "It was so."),
        (opposite, "Yes.", None),
    ],
)
def test_a_fault_turns_the_statement_or_is_not_planted(rule, answer, expected):
    assert rule(answer, random.Random(1)) == expected
    assert other_number("Built in 1810.", random.Random(1)) != "Built in 1810."


def test_a_leaf_with_one_seed_has_nothing_to_plant():
    assert planted([Leaf(path="a", kind="skill", seeds=(Seed("Q?", "A."),))], 10) == []


def test_the_arms_get_about_the_same_tokens_and_asked_again_it_costs_nothing(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url)
        arms = facts("ablate", "debate", path, "--rows", 24, home=home)
        paid = stats(base_url)["requests"]
        shown = seedbed("ablate", "debate", path, "--rows", 24, home=home)
        assert stats(base_url)["requests"] == paid
    by_name = {arm["arm"].split(" of ")[0]: arm for arm in arms}
    always, same, gated = by_name["debate on everything"], arms[-2], by_name["debate behind its gate"]
    assert same["arm"].startswith("vote of") and 0.75 < same["tokens"] / always["tokens"] < 1.25
    assert gated["tokens"] < always["tokens"]
    for arm in arms:
        assert arm["judged"] == 24 and arm["faulty"] == arm["good"] == 12
        assert arm["correct"] == arm["caught"] + arm["good"] - arm["alarms"]
    assert shown.returncode == 0 and "At about equal tokens debate" in shown.stdout
    assert facts("status", home=home)[0]["recipe"] == "scripted/ablate", "what it cost is on the books"


def test_it_weighs_the_recipes_own_debate_and_vote_and_other_options_or_models_are_other_runs(tmp_path):
    home, curate = tmp_path / "home", [{"debate": {"rounds": 1, "words": 21, "rubric": "in rhyme", "sure": 0.9}}]
    (tmp_path / "consider.txt").write_text("[system]\nWeigh it in verse.\n[user]\n{{ mark }}\n{{ text }}\n{{ mark }}\n")

    def ablated(base_url: str, **changes):
        changes = {"taxonomy": str(ROOT / "taxonomies" / "starter"), **changes}
        return facts("ablate", "debate", recipe(tmp_path, base_url, **changes), "--rows", 4, home=home)

    def prompts(step: str) -> list[str]:
        return [row["prompt"] for row in sql(f"SELECT prompt FROM calls WHERE step = '{step}'", home)]

    with running() as base_url:
        ablated(base_url, curate=curate)
        assert prompts("debate_opinion") and prompts("debate_argument") and prompts("vote_review")
        for step in ("debate_opinion", "vote_review", "vote"):
            assert all("A good answer is in rhyme" in prompt for prompt in prompts(step)), step
        assert all("at most 21 words" in prompt for prompt in prompts("debate_argument"))
        assert len(prompts("debate_argument")) == 2 * 4 and not prompts("debate_decisive"), "one round of all four"
        votes = {"vote": {"rubric": "short", "prompts": {"consider": "consider.txt"}}}
        ablated(base_url, curate=[*curate, votes])
        assert any("Weigh it in verse" in prompt for prompt in prompts("vote_review"))
        assert any("A good answer is short" in prompt for prompt in prompts("vote"))
        ablated(base_url, curate=curate, model={"model": "other"})
        ablated(base_url, curate=curate)
    assert len(sql("SELECT run_id FROM runs", home)) == 3


def table(always: int, others: int, rows: int = 200) -> list[Row]:
    """Arms that were right so often of `rows`; the gate spared half of the tokens."""
    right = {"single": (100, 9.0), "gate": (120, 50.0), "vote of 1": (100, 20.0), "vote of 5": (others, 100.0)}
    right["debate on everything"] = (always, 100.0)
    return [Row(arm, rows, n, 0, 0, 0, 0, 0, tokens, 0.0, 0.0) for arm, (n, tokens) in right.items()]


@pytest.mark.parametrize(
    ("always", "others", "said"),
    [
        (180, 100, "debate beats the vote of 5: 90% against 50% right."),
        (100, 180, "debate loses to the vote of 5: 50% against 90% right."),
        (101, 100, "debate beats the vote of 5: 50% against 50% right, which 200 answers cannot tell apart."),
        (100, 104, "debate loses to the vote of 5: 50% against 52% right, which 200 answers cannot tell apart."),
        (100, 100, "debate ties with the vote of 5: 50% against 50% right, which 200 answers cannot tell apart."),
    ],
)
def test_the_conclusion_says_who_won_and_whether_it_can_be_told(always, others, said):
    told = _conclusion(table(always, others))
    assert told == f"At about equal tokens {said} The gate saves 50% of the tokens; behind it 60% are right."


def test_stopped_in_the_middle_it_goes_on_where_it_was(tmp_path):
    home = tmp_path / "home"
    with running(latency_ms=30) as base_url:
        path = recipe(tmp_path, base_url)
        process = start("ablate", "debate", path, home=home)
        await_requests(base_url, 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert seedbed("ablate", "debate", path, home=home).returncode == 0
        assert stats(base_url)["repeated"] == 0


def test_a_taxonomy_without_examples_is_told(tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "P?"}\n')
    wanted = [{"preferences": {"requests": "prompts.jsonl"}}]
    path = recipe(tmp_path, "http://127.0.0.1:9/v1", generate=wanted, taxonomy=None)
    done = seedbed("ablate", "debate", path, home=tmp_path / "home")
    assert done.returncode == 2 and "two seed_examples" in done.stderr
