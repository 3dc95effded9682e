"""Whole runs by the command line, against a scripted server: nothing paid twice, books that balance, plain errors."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.mock_server import running
from tests.asked import sql as sql  # others take it from here
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
SEEDBED = [sys.executable, "-c", "from flows.cli import main; main()"]
CURATE: list[object] = ["exact_duplicates", "rules", {"critique": {"keep_at": 3.5}}, {"coverage": {"attempts": 4}}]


def recipe(folder: Path, base_url: str, per_leaf: int = 6, **changes) -> Path:
    """A recipe on the scripted server and the starter taxonomy's skills."""
    facts = {
        "name": "scripted",
        "model": {
            "engine": "http",
            "base_url": base_url,
            "model": "mock",
            "concurrency": 8,
            **changes.pop("model", {}),
        },
        "taxonomy": str(ROOT / "taxonomies" / "starter"),
        "generate": [{"skills": {"per_leaf": per_leaf}}],
        "curate": CURATE,
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(facts))
    return path


def start(
    *arguments: object, home: Path, limit: Callable[[], None] | None = None, **more: str
) -> subprocess.Popen[str]:
    """The command line in a process of its own; `more` is its environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SEEDBED_HOME": str(home)}
    environment.pop("PREFECT_API_URL", None)
    pipe, command = subprocess.PIPE, [*SEEDBED, *map(str, arguments)]
    environment |= more
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, preexec_fn=limit)


def seedbed(*arguments: object, home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, home=home, **options)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def facts(*arguments: object, home: Path):
    done = seedbed(*arguments, "--json", home=home)
    assert done.returncode in (0, 1, 3), done.stderr
    return json.loads(done.stdout)


def exported(home: Path, name: str = "scripted") -> bytes:
    path = home.with_suffix(".jsonl")
    done = seedbed("export", name, path, home=home)
    assert done.returncode == 0, done.stderr
    return path.read_bytes()


def stats(base_url: str) -> dict[str, int]:
    from urllib.request import urlopen

    with urlopen(base_url.removesuffix("/v1") + "/stats") as answer:
        found: dict[str, int] = json.load(answer)
    return found


def await_requests(base_url: str, n: int) -> None:
    """Wait until the server has seen so many: the run is well under way."""
    while stats(base_url)["requests"] < n:
        time.sleep(0.05)


PROMPT = "[user]\n{{{{ {} }}}}\n"
BALANCE = "SELECT count(*) AS n FROM runs WHERE made <> kept + dropped + failed + pending"


def test_every_leaf_gets_exactly_its_target_and_the_books_balance(tmp_path):
    with running() as base_url:
        found = facts("run", recipe(tmp_path, base_url), home=tmp_path / "home")
    assert found["status"] == "done" and found["run"]["pending"] == 0
    assert {leaf["kept"] for leaf in found["leaves"]} == {6}
    assert found["run"]["made"] > found["run"]["kept"], "the scripted judge turns some down"
    assert found["run"]["made"] == found["run"]["kept"] + found["run"]["dropped"]
    assert sql(BALANCE, tmp_path / "home") == [{"n": 0}]
    assert sql("SELECT count(*) AS n FROM samples WHERE status = 'dropped' AND reason = ''", tmp_path / "home") == [
        {"n": 0}
    ]


def test_run_again_makes_no_call_and_exports_the_same_bytes(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url)
        facts("run", path, home=home)
        before, first = stats(base_url)["requests"], exported(home)
        again = facts("run", path, home=home)
        assert stats(base_url)["requests"] == before
    assert exported(home) == first
    assert again["run"]["calls"] == before


def test_the_last_lines_of_a_run_lead_on(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.chdir(tmp_path)  # an export is written here
    with running() as base_url:
        done = seedbed("run", recipe(tmp_path, base_url, per_leaf=1), home=home)
    lines = re.findall(r"^seedbed (\w+.*?) --home \S+  ", done.stdout.split("next ──")[1], re.MULTILINE)
    told = {words[0]: words for words in map(shlex.split, lines)}
    assert list(told) == ["why", "sql", "review", "refilter", "export", "train", "push", "schedule"]
    for name in ("why", "sql", "refilter", "export"):
        assert seedbed(*told[name], home=home).returncode == 0
    for name in ("review", "train", "push", "schedule"):  # each has tests of its own
        assert seedbed(*told[name], "--help", home=home).returncode == 0


def test_one_word_in_one_prompt_repeats_exactly_what_sees_it(tmp_path):
    from curators.critique import Critique

    home = tmp_path / "home"
    prompt = Critique().prompts.critique
    assert "[system]\n" in prompt
    (tmp_path / "critique.j2").write_text(prompt.replace("[system]\n", "[system]\nWell, ", 1))
    changed = [{"critique": {"keep_at": 3.5, "prompts": {"critique": "critique.j2"}}}]
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, curate=["rules", {"critique": {"keep_at": 3.5}}]), home=home)
        facts("run", recipe(tmp_path, base_url, curate=["rules", *changed]), home=home)
    found = sql(
        "SELECT list_distinct(list(step)) AS steps, any_value(calls_replayed) AS replayed "
        "FROM calls JOIN runs USING (run_id) WHERE run_id = (SELECT arg_max(run_id, started_at) FROM runs)",
        home,
    )[0]
    assert set(found["steps"]) <= {"critique", "critique_score"} and "critique" in found["steps"]
    assert found["replayed"] > 0


def test_another_threshold_costs_no_call(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, curate=[{"critique": {"keep_at": 3.5}}]), home=home)
        before = stats(base_url)["requests"]
        facts("run", recipe(tmp_path, base_url, curate=[{"critique": {"keep_at": 1.5}}]), home=home)
        assert stats(base_url)["requests"] == before
    kept = sql("SELECT kept FROM runs ORDER BY started_at", home)
    assert kept[1]["kept"] > kept[0]["kept"]


def test_what_another_recipe_kept_is_a_duplicate_and_ones_own_last_edition_is_not(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        first = facts("run", recipe(tmp_path, base_url, curate=["exact_duplicates"]), home=home)
        second = facts("run", recipe(tmp_path, base_url, curate=["exact_duplicates", "rules"]), home=home)
        assert second["run"]["kept"] == first["run"]["kept"] > 0
        sql_texts = sql("SELECT text_hash FROM samples WHERE status = 'kept'", home)
        with_same_name = {row["text_hash"] for row in sql_texts}
    other = f"SELECT count(*) AS n FROM samples WHERE run_id = '{second['run']['run_id']}' AND status = 'kept'"
    assert sql(other, home)[0]["n"] == len(with_same_name)


@pytest.mark.parametrize(
    ("method", "fault", "said"),
    [
        ("knowledge", {"prose": True}, "no JSON object in the answer"),
        ("knowledge", {"half_json": True}, "the JSON breaks off|JSON of the wrong shape"),
        ("knowledge", {"empty": True}, "empty answer"),
        ("skills", {"empty": True}, "empty answer"),
        ("knowledge", {"status": 500}, "500"),
        ("skills", {"html": True}, "html"),
    ],
)
def test_a_server_that_answers_rubbish_is_named_in_the_first_batch(tmp_path, method, fault, said):
    model = {"retries": 0, "timeout": 5}
    with running(**fault) as base_url:
        path = recipe(tmp_path, base_url, generate=[{method: {"per_leaf": 64}}], model=model)
        done = seedbed("run", path, home=tmp_path / "home")
        asked = stats(base_url)["requests"]
    assert done.returncode == 1
    assert "rows failed. The commonest raw failures:" in done.stderr
    assert re.search(said, done.stderr, re.IGNORECASE), done.stderr
    assert asked < 64, "it must not ask on and on once nothing is answered"


def test_good_rows_are_kept_beside_bad_ones_and_the_run_is_not_called_done(tmp_path):
    with running(status=500, fault_every=6) as base_url:
        path = recipe(tmp_path, base_url, model={"retries": 0}, curate=["rules"])
        found = facts("run", path, home=tmp_path / "home")
    assert found["run"]["kept"] > 0 and found["run"]["failed"] > 0
    lacking = sum(leaf["shortfall"] for leaf in found["leaves"])
    assert found["status"] == "failed" and lacking > 0, found["message"]
    assert re.match(r"the engine did not answer for \d+ rows", found["message"])
    assert sql(BALANCE, tmp_path / "home") == [{"n": 0}]


def test_rows_that_the_server_failed_are_tried_again_by_the_same_command(tmp_path):
    home = tmp_path / "home"
    with running(status=500, port=free_port()) as base_url:
        path = recipe(tmp_path, base_url, model={"retries": 0})
        port = base_url.rsplit(":", 1)[1].split("/")[0]
        assert seedbed("run", path, home=home).returncode == 1
    with running(port=int(port)):
        assert facts("run", path, home=home)["status"] == "done"
    assert sql(BALANCE, home) == [{"n": 0}]


def test_a_server_that_never_answers_ends_the_run_at_its_deadline(tmp_path):
    with running(hang=True) as base_url:
        path = recipe(tmp_path, base_url, model={"timeout": 1, "retries": 0})
        began = time.monotonic()
        done = seedbed("run", path, home=tmp_path / "home")
    assert done.returncode == 1 and time.monotonic() - began < 20
    assert "go on with" in done.stdout


def test_a_leaf_that_cannot_be_filled_is_reported_with_the_main_reason(tmp_path):
    with running() as base_url:
        path = recipe(tmp_path, base_url, curate=[{"rules": {"max_words": 1}}, {"coverage": {"attempts": 2}}])
        done = seedbed("run", path, home=tmp_path / "home")
    told = " ".join(done.stdout.split())
    assert done.returncode == 1 and re.search(
        r"no row was kept, so there is no version: \d\d x rules: answer over", told
    )
    assert "5 leaves lack 30 rows in all; main reason: answer over 1 words" in done.stdout
    assert "only 0 of the first" in done.stderr
    made = sql("SELECT DISTINCT made FROM coverage", tmp_path / "home")
    assert made == [{"made": 12}], "two tries a place, and not one more"


def test_a_token_budget_stops_the_run_and_it_can_go_on(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=30, budget={"tokens": 5000})
        done = seedbed("run", path, home=home)
        assert done.returncode == 3 and "the budget of 5,000 tokens is spent" in done.stdout
        assert facts("run", recipe(tmp_path, base_url, per_leaf=30), home=home)["status"] == "done"
        assert stats(base_url)["repeated"] == 0


def test_a_preview_shows_rows_and_estimates_and_the_run_does_not_pay_for_them_again(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url)
        done = seedbed("preview", path, "--rows", 5, home=home)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("question") >= 5 and "rows wanted. Estimated by the preview's 5 rows" in done.stdout
        facts("run", path, home=home)
        assert stats(base_url)["repeated"] == 0


def test_documents_of_a_recipe_are_leaves_of_their_own_also_with_one_name(tmp_path):
    (tmp_path / "docs").mkdir()
    for name in ("harbour.md", "harbour.txt"):
        (tmp_path / "docs" / name).write_text(f"The {name} was built in 1850. It has two cranes and a lighthouse.\n")
    with running() as base_url:
        wanted = [{"knowledge": {"per_leaf": 3, "documents": "docs/*"}}]
        path = recipe(tmp_path, base_url, generate=wanted, taxonomy=None, curate=[{"coverage": {"attempts": 9}}])
        found = facts("run", path, home=tmp_path / "home")
    assert {(leaf["leaf"].rsplit("/", 1)[1], leaf["kept"]) for leaf in found["leaves"]} == {
        ("harbour.md", 3),
        ("harbour.txt", 3),
    }


def test_a_prompt_that_fails_while_it_is_filled_is_named(tmp_path):
    with running() as base_url:
        wanted = [{"skills": {"prompts": {"question": PROMPT.format("task + 1")}}}]
        done = seedbed("run", recipe(tmp_path, base_url, generate=wanted), home=tmp_path / "home")
    assert done.returncode == 1 and "the prompt cannot be filled" in done.stdout and "Traceback" not in done.stderr
    assert "Correct the prompt's file" in done.stdout


def test_a_key_that_is_no_header_text_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ODD_KEY", "schlüssel")
    path = recipe(tmp_path, "http://127.0.0.1:9/v1", model={"api_key_env": "ODD_KEY"})
    done = seedbed("run", path, home=tmp_path / "home")
    assert done.returncode == 1 and "ODD_KEY" in done.stderr and "Traceback" not in done.stderr


def test_why_tells_a_whole_life(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        run = facts("run", recipe(tmp_path, base_url), home=home)
    [life] = facts("why", run["samples"][0]["sample_id"], home=home)
    steps = [verdict["step"] for verdict in life["verdicts"]]
    assert steps[-3:] == ["exact_duplicates", "rules", "critique"]
    assert all(call["prompt"] and call["response"] for call in life["calls"]) and life["calls"][0]["step"] == "question"
    assert life["parents"] and life["parents"][0].startswith(life["leaf"])


def test_two_commands_on_one_run_the_second_says_so(tmp_path):
    home = tmp_path / "home"
    with running(latency_ms=30) as base_url:
        path = recipe(tmp_path, base_url, per_leaf=20)
        first = start("run", path, home=home)
        await_requests(base_url, 5)
        second = seedbed("run", path, home=home)
        assert second.returncode == 1 and "another process is at work on run" in second.stderr
        first.communicate(timeout=120)
        assert first.returncode == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"curates": []}, "unknown key 'curates'.*curate"),
        ({"curate": [{"critique": {"kep_at": 3}}]}, "kep_at.*keep_at"),
        ({"generate": ["skill"]}, "skill.*skills"),
        ({"curate": ["coverage", "rules"]}, "`coverage` counts what every other curator kept"),
        ({"taxonomy": "nowhere"}, "there is no folder 'nowhere'"),
        ({"model": {"base_url": "http://127.0.0.1:9/v1?key=1"}}, "the address holds a query"),
        ({"generate": [{"skills": {"prompts": {"answer": PROMPT.format("tsk")}}}]}, "`answer` uses tsk; it is given"),
    ],
)
def test_a_bad_recipe_is_refused_with_the_way_out_and_nothing_is_started(tmp_path, change, said):
    path = recipe(tmp_path, "http://127.0.0.1:9/v1", **change)
    done = seedbed("run", path, home=tmp_path / "home")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert not list((tmp_path / "home").glob("journal/*"))


def test_an_empty_taxonomy_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    path = recipe(tmp_path, "http://127.0.0.1:9/v1", taxonomy=str(tmp_path / "empty"))
    done = seedbed("run", path, home=tmp_path / "home")
    assert done.returncode == 2 and "qna.yaml" in done.stderr


def test_answers_that_cannot_be_read_use_up_tries_and_do_not_end_the_refilling(tmp_path):
    with running(prose=True) as base_url:
        wanted, curate = [{"knowledge": {"per_leaf": 2}}], [{"coverage": {"attempts": 3}}]
        found = facts("run", recipe(tmp_path, base_url, generate=wanted, curate=curate), home=tmp_path / "home")
    [leaf] = found["leaves"]
    assert (leaf["made"], leaf["failed"], leaf["shortfall"]) == (6, 6, 2), "every try is spent before it gives up"
