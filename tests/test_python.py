"""Seedbed from Python: what the commands do, with the same checks; the notebook of the docs runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest

import seedbed
from benchmarks.mock_server import running
from tests.test_run import facts, recipe, stats

ROOT = Path(__file__).parents[1]
ROWS = [{"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}, as everybody knows."} for n in range(40)]
RECIPE: dict[str, object] = {
    "name": "mine",
    "model": "smollm2-135m",
    "generate": [{"rows": {"from": "rows.jsonl"}}],
    "curate": ["exact_duplicates", "rules"],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def test_the_notebook_of_the_docs_runs(tmp_path):
    cells = json.loads((ROOT / "docs" / "python.ipynb").read_text())["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    check = "assert rows.num_rows == 2 and home.versions()[0]['samples'] == 2 and outcome.status == 'done'"
    done = subprocess.run(
        [sys.executable, "-c", f"{source}\n{check}"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Did you mean 'exact_duplicates'" in done.stdout
    assert (tmp_path / "rows.parquet").exists()


def test_the_version_is_the_packages_and_the_kernel_loads_no_method():
    assert seedbed.__version__ == metadata.version("seedbed")
    code = "import sys, seedbed; assert 'flows.front' not in sys.modules and 'duckdb' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    assert all(getattr(seedbed, name) for name in seedbed.__all__)
    with pytest.raises(AttributeError, match="grwo"):
        seedbed.grwo  # type: ignore[attr-defined]  # noqa: B018


def test_a_mapping_and_a_file_are_the_same_recipe_and_the_same_run(folder):
    import yaml

    (folder / "mine.yaml").write_text(yaml.safe_dump(RECIPE))
    home = seedbed.Home(folder / "home")
    first, again = home.grow(folder / "mine.yaml"), home.grow(RECIPE, folder=folder)
    assert first.plan.run_id == again.plan.run_id and first.version == again.version == "mine-v1"
    assert [row["version"] for row in home.versions()] == ["mine-v1"]
    assert home.grow(seedbed.read(RECIPE, folder)).version == "mine-v1"


def test_a_data_set_holds_what_export_writes_on_its_side(folder):
    home = seedbed.Home(folder / "home")
    version = home.grow(RECIPE, folder=folder).version
    home.export(version, folder / "rows.jsonl", held_out=0.3)
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    train, test = (home.dataset(version, split=side, held_out=0.3) for side in ("train", "test"))
    assert train.to_list() == lines and 0 < test.num_rows == len(ROWS) - len(lines)
    assert set(test["split"]) == {"test"}
    with pytest.raises(seedbed.InputError, match="of one side"):
        home.dataset(version, split="apart")
    for odd in ("Train", "validation", ""):
        with pytest.raises(seedbed.InputError, match="no side of the split"):
            home.dataset(version, split=odd)  # type: ignore[arg-type]
    for share in (-1, 1.5, float("nan")):
        with pytest.raises(seedbed.InputError, match="cannot be held out"):
            home.dataset(version, held_out=share)


def test_a_home_stays_where_it_is_when_the_folder_changes(folder, monkeypatch):
    monkeypatch.chdir(folder)
    home = seedbed.Home("home")
    home.grow(RECIPE)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert home.grow(RECIPE, folder=folder).version == "mine-v1" and not (folder / "elsewhere" / "home").exists()


def test_the_button_of_a_notebook_ends_the_run_and_the_same_call_goes_on(tmp_path):
    code = """
        import asyncio, os, signal, sys, threading, time
        from pathlib import Path
        import seedbed
        home = seedbed.Home("home")
        async def cell():
            threading.Thread(target=stop, daemon=True).start()
            home.grow("recipe.yaml")
        def stop():
            while not any(file.stat().st_size for file in Path("home/journal").rglob("*") if file.is_file()):
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)
        try:
            asyncio.new_event_loop().run_until_complete(cell())  # as a notebook's kernel does
        except KeyboardInterrupt:
            print(home.sql("SELECT status FROM runs").to_pylist())
        """
    with running(latency_ms=1000) as base_url:
        recipe(tmp_path, base_url, per_leaf=12)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert "interrupted" in done.stdout, done.stderr
        assert seedbed.Home(tmp_path / "home").grow(tmp_path / "recipe.yaml").status in ("done", "short")


def test_it_calls_models_and_goes_on_as_the_command_does(tmp_path):
    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=2)
        facts("run", path, home=tmp_path / "home")
        before = stats(base_url)["requests"]
        home = seedbed.Home(tmp_path / "home")
        outcome = home.grow(path)
        assert stats(base_url)["requests"] == before, "the command had made every call"
    [kept, *_] = home.sql("SELECT sample_id FROM samples WHERE status = 'kept' ORDER BY position").to_pylist()
    [life] = home.why(kept["sample_id"])
    assert life["calls"] and life["verdicts"]
    made = home.refilter(outcome.version, {"critique": 5})
    assert made.samples < int(str(home.versions()[-1]["samples"]))
    assert {row["what"] for row in home.diff(outcome.version, made.version)} == {"went"}


def test_it_works_where_an_event_loop_is_running_as_in_a_notebook(folder):
    home = seedbed.Home(folder / "home")

    async def cell() -> str:
        return home.grow(RECIPE, folder=folder).version

    assert asyncio.run(cell()) == "mine-v1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"curate": ["rulez"]}, r"the recipe at curate\.0: .*rulez.*Did you mean 'rules'"),
        ({"curate": [{"rules": {"max_words": "many"}}]}, r"the recipe at curate\.0\.rules\.max_words"),
        ({"generate": [{"rows": {"from": "none.jsonl"}}]}, r"none\.jsonl.*no such file"),
        ({"model": {"smollm2-135m"}}, r"the recipe at model: a value of type set"),
        ({"budget": {"usd": float("nan")}}, r"the recipe at budget\.usd: a value nan"),
        ({"name": None}, r"the recipe at name|name is missing"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said_as_of_a_file(folder, changes, reason):
    with pytest.raises(seedbed.BadInput, match=reason):
        seedbed.read({**RECIPE, **changes}, folder)


def test_options_and_limits_that_nobody_knows_are_refused(folder):
    home = seedbed.Home(folder / "home")
    for limits in ({"token": 5}, {"tokens": -5}, {"tokens": "many"}, {"minutes": 0}):
        with pytest.raises(seedbed.BadInput, match=r"the limits at (token|minutes)"):
            home.grow(RECIPE, folder=folder, limits=limits)  # type: ignore[arg-type]
    with pytest.raises(seedbed.InputError, match="no preview"):
        home.grow(RECIPE, folder=folder, rows=0)
    with pytest.raises(seedbed.InputError, match="write it behind `critique`"):
        seedbed.read({**RECIPE, "curate": [{"best": {"per_leaf": 1, "by": "critique"}}, "critique"]}, folder)
    with pytest.raises(seedbed.BadInput, match=r"options at epoch: unknown key 'epoch'. Did you mean 'epochs'"):
        home.train("mine", epoch=3)


def test_the_first_rows_of_a_source_are_shown_as_they_are_understood(folder):
    shown = seedbed.preview_rows(RECIPE, folder, 3)
    assert [row["line"] for row in shown] == [1, 2, 3] and shown[0]["kind"] == "instruction"
