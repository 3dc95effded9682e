"""Trainings for real, by the command line, of a tiny random model: seconds each, in a process of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from seedbed.options_file import read_options_file
from seedbed.records import Content
from seedbed.store import Store
from tests import test_run
from tests.tiny_model import GOOD, text, tiny_model
from tests.tiny_version import BATCH, EPOCHS, grown, options, pair, preferences, spoilt
from trainer.manifest import read_manifest
from trainer.options import Training

ROOT = Path(__file__).parent.parent


def seedbed(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    return test_run.seedbed(*arguments, home=home, CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")


def told(done: subprocess.CompletedProcess[str]):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, a home with a version of pairs, and a DPO adapter trained on it."""
    folder = tmp_path_factory.mktemp("place")
    tiny_model(folder / "model")
    preferences(folder / "home")
    told(seedbed("train", "toy", "--options", options(folder), "--objective", "dpo", "--json", home=folder / "home"))
    return folder


@pytest.fixture
def manifest(place):
    return json.loads((place / "home/adapters/toy-v2-dpo/manifest.json").read_text())


def test_dpo_raises_held_out_preference_accuracy_on_a_rule_that_can_be_learned(manifest):
    before, after = manifest["before"], manifest["after"]
    assert before["accuracy"] == 0.5 and before["margin"] == 0 and before["loss"] == pytest.approx(0.6931472)
    assert after["accuracy"] > 0.9 and after["margin"] > 0.15 and after["loss"] < 0.63
    assert after["policy_accuracy"] > before["policy_accuracy"] + 0.2
    assert before["chosen_drift"] == 0 != after["chosen_drift"]


def test_rows_that_teach_nothing_are_refused_counted_by_reason_and_not_trained_on(place, manifest):
    reasons = {
        "chosen = rejected": 3,
        "empty answer": 2,
        "longer than 40 tokens": 1,
        "kind instruction is not for dpo": 1,
    }
    assert manifest["rows"]["refused"] == reasons
    used = [json.loads(line) for line in (place / "home/adapters/toy-v2-dpo/rows.jsonl").read_text().splitlines()]
    assert Counter(row["use"] for row in used if row["use"].startswith("refused")) == {
        f"refused: {reason}": n for reason, n in reasons.items()
    }
    refused = {row["sample_id"] for row in used if row["use"].startswith("refused")}
    assert refused == {f"toy-{n}" for n in range(80, 87)}
    by_use = Counter(row["use"] for row in used)
    assert (by_use["train"], by_use["held out"]) == (manifest["rows"]["train"], manifest["rows"]["held_out"])
    assert by_use["train"] + by_use["held out"] == 80 and 5 <= by_use["held out"] <= 30
    assert manifest["steps"] == EPOCHS * -(-by_use["train"] // BATCH)


def test_the_manifest_names_version_recipe_base_and_everything_that_decided_the_outcome(place, manifest):
    origin, base = manifest["origin"], manifest["base"]
    assert (origin["version"], origin["recipe"], origin["run_ids"]) == ("toy-v2", "toy", ["run-toy"])
    assert len(origin["recipe_sha256"]) == 64
    assert base["model"] == str(place / "model") and base["revision"].startswith("files:") and base["licence"] == "MIT"
    assert manifest["training"]["objective"] == "dpo" and manifest["training"]["beta"] == 0.1
    assert set(manifest["packages"]) >= {"torch", "trl", "peft", "transformers"}
    assert manifest["seconds"] > 0 and "CPU" in manifest["device"] and manifest["dtype"] == "float32"


def test_an_older_manifest_means_what_it_meant(place, tmp_path):
    adapter = shutil.copytree(place / "home/adapters/toy-v2-dpo", tmp_path / "adapter")
    told = json.loads((adapter / "manifest.json").read_text())
    del told["dtype"], told["rows"]["remarks"], told["training"]["passages"], told["training"]["reasoning"]
    (adapter / "manifest.json").write_text(json.dumps(told))
    read = read_manifest(adapter)
    assert read.dtype is None and read.rows.remarks == {}
    assert read.training.passages == "prompt" and not read.training.reasoning


def test_evaluate_repeats_the_recorded_figures_to_the_last_digit(place, manifest):
    again = told(seedbed("evaluate", place / "home/adapters/toy-v2-dpo", "--json", home=place / "home"))
    assert (again["before"], again["after"]) == (manifest["before"], manifest["after"])
    assert again["recorded"] == {"before": manifest["before"], "after": manifest["after"]}
    assert again["rows"] == manifest["rows"]["held_out"] and again["seen"] == 0


def test_an_adapter_on_a_model_of_the_hub_is_measured_on_the_commit_it_was_trained_on(place):
    """The Hub as its cache has it: a repository at one commit, and later at another with other weights."""
    cache, home = place / "hub" / "hub" / "models--own--tiny", place / "moved"
    grown(home, [("preference", pair(n)) for n in range(40)])
    for commit, change in (("a" * 40, ""), ("b" * 40, "{% set _ = 1 %}")):
        shutil.copytree(place / "model", cache / "snapshots" / commit)
        template = cache / "snapshots" / commit / "chat_template.jinja"
        template.write_text(change + template.read_text())
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40)
    hub = {"HF_HOME": str(place / "hub"), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    chosen = options(place, model="own/tiny", epochs=1)
    trained = told(test_run.seedbed("train", "toy", "--options", chosen, "--json", home=home, **hub))
    assert trained["base"]["revision"] == "a" * 40 and trained["training"]["revision"] == ""
    (cache / "refs" / "main").write_text("b" * 40)
    again = told(test_run.seedbed("evaluate", trained["adapter"], "--json", home=home, **hub))
    assert (again["before"], again["after"]) == (trained["before"], trained["after"])


def test_the_same_seed_gives_the_same_adapter_and_the_report_says_what_to_do_next(place, manifest):
    done = seedbed("train", "toy-v2", "--options", options(place), "--objective", "dpo", home=place / "home")
    assert done.returncode == 0, done.stderr
    second = place / "home/adapters/toy-v2-dpo-2"
    again = json.loads((second / "manifest.json").read_text())
    assert {**again, "seconds": 0, "created_at": ""} == {**manifest, "seconds": 0, "created_at": ""}
    weights = [folder / "adapter_model.safetensors" for folder in (second, place / "home/adapters/toy-v2-dpo")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    shown = " ".join(done.stdout.split())
    assert "7 refused: 3 x chosen = rejected, 2 x empty answer" in shown
    assert "preference accuracy (implicit reward) 0.5000" in shown and f"seedbed evaluate {second}" in shown
    assert "training" in done.stderr, "progress goes to stderr"


def test_the_adapter_is_loaded_by_plain_peft_and_names_no_path_of_this_machines_cache(place, manifest):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trainer.dpo import figures
    from trainer.measure import log_probs
    from trainer.options import Training
    from trainer.rows import fit, read_rows

    adapter = place / "home/adapters/toy-v2-dpo"
    base = AutoModelForCausalLM.from_pretrained(place / "model")
    tokenizer = AutoTokenizer.from_pretrained(place / "model")
    held_out = {json.loads(line)["sample_id"] for line in (adapter / "rows.jsonl").open() if "held out" in line}
    rows = [row for row in _rows(place / "home", read_rows) if row.sample_id in held_out]
    tokens = fit(rows, Training(**manifest["training"]), tokenizer, 40).tokens
    reference = log_probs(base, tokens)
    policy = log_probs(PeftModel.from_pretrained(base, adapter), tokens)
    found = figures(policy, reference, Training(**manifest["training"])).model_dump()
    assert found == pytest.approx(manifest["after"], abs=1e-6)
    assert not (adapter / "README.md").exists()


def _rows(home: Path, read):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from seedbed.store.versions import version_batches

    path = home.with_suffix(".parquet")
    pq.write_table(pa.concat_tables(version_batches(Store(home), "toy-v2", held_out=0.2)), path)
    return read(path)


def test_on_another_version_nothing_is_measured_whose_prompt_was_trained_on(place):
    other: list[tuple[str, Content]] = [("preference", pair(n, asked)) for n in range(45) for asked in ("w0", "w1 w1")]
    home = shutil.copytree(place / "home", place / "two")
    grown(home, other, "other")
    found = told(seedbed("evaluate", place / "home/adapters/toy-v2-dpo", "other", "--json", home=home))
    assert found["version"] == "other-v1" and found["seen"] == 0, "a prompt is on the same side in every version"
    assert found["rows"] in range(8, 31), "a fifth of its prompts"


def test_sft_makes_held_out_answers_likelier_and_is_what_answers_are_trained_by(place):
    home = place / "sft"
    grown(home, [("instruction", Content(question=text(n), answer=f"{GOOD[n % 2]} clear true")) for n in range(60)])
    found = told(seedbed("train", "toy", "--options", options(place), "--out", place / "mine", "--json", home=home))
    assert found["training"]["objective"] == "sft" and found["adapter"] == str(place / "mine")
    assert found["after"]["loss"] < found["before"]["loss"] - 1
    assert found["after"]["perplexity"] < found["before"]["perplexity"] / 2
    assert found["rows"]["refused"] == {}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def deaf() -> None:
    """As a script's `&` leaves it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def begun(place: Path, home: Path, sign: str) -> tuple[subprocess.Popen[str], int]:
    """A long training on its way, once it has said `sign` on stderr; and its child."""
    process = test_run.start(
        *("train", "toy", "--options", options(place, epochs=10_000, objective="dpo")),
        home=home,
        limit=deaf,
    )
    assert process.stderr
    for line in process.stderr:
        if sign in line:
            break
    [child] = children(process.pid)
    return process, child


def gone(pid: int) -> bool:
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return True
        time.sleep(0.1)
    return False


def test_a_training_is_another_process_that_calls_nobody_and_when_it_is_killed_no_adapter_is_left(place):
    home = shutil.copytree(place / "home", place / "killed", ignore=shutil.ignore_patterns("adapters"))
    process, child = begun(place, home, "training")
    environment = Path(f"/proc/{child}/environ").read_text().split("\0")
    assert os.getsid(child) == child != os.getsid(process.pid)
    assert {"HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_OFFLINE=1"} <= set(environment)
    os.kill(child, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "was killed" in errors and "batch_size" in errors
    assert list((home / "adapters").iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_whoever_stops_a_training_stops_its_process_too_and_leaves_nothing_that_looks_whole(place, number, code):
    home = shutil.copytree(place / "home", place / f"stopped{number}", ignore=shutil.ignore_patterns("adapters"))
    process, child = begun(place, home, "loading")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code and gone(child)
    left = [path.name for path in (home / "adapters").iterdir()]
    assert left == [] or (code == -9 and all(name.startswith(".") for name in left))


def refused(*arguments: object, home: Path) -> str:
    there = list(home.glob("adapters/*"))
    done = seedbed("train", *arguments, home=home)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and list(home.glob("adapters/*")) == there
    return done.stderr


def test_a_version_of_pairs_with_two_equal_sides_is_refused_with_the_count(place):
    home = place / "equal"
    version = grown(home, [("preference", Content(question=f"w{n}", answer="w1", rejected="w2")) for n in range(4)])
    spoilt(Store(home), version, dict.fromkeys(range(4), "w1"))
    assert "refused: 4 x chosen = rejected" in refused("toy", "--options", options(place), home=home)


def test_a_version_too_small_to_hold_a_row_out_is_refused(place):
    home = place / "small"
    grown(home, [("instruction", Content(question=f"w{n}", answer="w1")) for n in range(2)])
    errors = refused("toy", "--options", options(place, held_out=1e-6), home=home)
    assert (
        "no row is held out to measure on, of 2" in errors
        and "Raise held_out (now 1e-06; 0.494 holds one out)" in errors
    )


def test_what_cannot_be_trained_on_is_told_with_the_way_out(place, tmp_path):
    home = shutil.copytree(place / "home", tmp_path / "home", ignore=shutil.ignore_patterns("adapters"))
    absent = refused("toy", "--model", "models/of/none", home=home)
    assert "no model folder 'models/of/none'" in absent and "config.json" in absent
    assert "it has no config.json" in refused("toy", "--model", place / "home", home=home)
    assert "is an adapter, not a model" in refused("toy", "--model", place / "home/adapters/toy-v2-dpo", home=home)
    assert "write --objective sft or dpo" in refused("toy", "--objective", "ppo", home=home)
    assert "no version, recipe or run" in refused("nothing", "--model", place / "model", home=home)
    assert "--out" in refused("toy", "--model", place / "model", "--out", place / "home", home=home)
    assert "passages: of use to sft only" in refused(
        *("toy", "--model", place / "model", "--objective", "dpo"),
        *("--options", options(tmp_path, passages="prompt")),
        home=home,
    )
    assert "beta: of use to dpo only" in refused(
        *("toy", "--model", place / "model", "--objective", "sft"),
        *("--options", options(tmp_path, beta=0.2)),
        home=home,
    )


def test_faults_of_a_file_of_options_are_told_with_line_and_remedy(place, tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("epochs: 0\nlora_rnak: 8\nobjective: rlhf\n")
    errors = refused("toy", "--options", path, home=place / "sft-none")
    assert f"{path}:1: " in errors and "epochs" in errors
    assert f"{path}:2: unknown key 'lora_rnak'. Did you mean 'lora_rank'?" in errors
    assert f"{path}:3: " in errors and "'sft' or 'dpo'" in errors


def test_an_adapter_that_is_none_or_of_other_rows_is_not_measured(place, tmp_path):
    done = seedbed("evaluate", place / "model", home=place / "home")
    assert done.returncode == 2 and "there is no adapter in" in done.stderr
    done = seedbed("evaluate", place / "home/adapters/toy-v2-dpo", "--model", "gone/a/way", home=place / "home")
    assert done.returncode == 2 and "no model folder 'gone/a/way'" in done.stderr and "--model" in done.stderr
    home = tmp_path / "home"
    grown(home, [("preference", pair(n)) for n in range(80)])
    with Store(home).writing() as db:
        db.execute("UPDATE base.versions SET version = 'toy-v2'")
        db.execute("UPDATE base.version_rows SET version = 'toy-v2'")
        db.execute("UPDATE base.samples SET answer = answer || ' w1'")
    done = seedbed("evaluate", place / "home/adapters/toy-v2-dpo", home=home)
    assert done.returncode == 2 and "is not the toy-v2 that" in done.stderr and "--home" in done.stderr


def test_an_adapter_is_not_measured_on_another_base_model(place):
    other = tiny_model(place / "other")
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    adapter = place / "home/adapters/toy-v2-dpo"
    done = seedbed("evaluate", adapter, "--model", other, home=place / "home")
    assert done.returncode == 2 and "but the adapter was trained on files:" in done.stderr
    (other / "config.json").write_text((place / "model/config.json").read_text())
    assert seedbed("evaluate", adapter, "--model", other, home=place / "home").returncode == 0, "only moved"


def test_without_trl_the_command_says_what_to_install(place):
    hidden = "import sys; sys.modules['trl'] = None; from flows.cli import main; main()"
    from sys import executable

    command = [executable, "-c", hidden, "train", "toy", "--options", options(place), "--home", place / "home"]
    done = subprocess.run(
        list(map(str, command)), env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 1 and "training needs trl" in done.stderr and "make train" in done.stderr


def test_the_shipped_options_are_read_and_are_of_their_objective():
    for objective in ("sft", "dpo"):
        assert read_options_file(ROOT / f"recipes/train-{objective}.yaml", Training).objective == objective
