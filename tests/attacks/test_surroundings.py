"""Nothing that lies where one stands is run or read, and nobody is called: every command, once, in such a place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.surroundings import ROOT, environment, python

CONTROL = "192.0.2.1"  # what alone.py sends to on purpose


def network_of_its_own() -> bool:
    """Whether the kernel lets us have one."""
    found = shutil.which("unshare") and shutil.which("ip")
    return bool(found) and subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder, apart = tmp_path_factory.mktemp("alone"), network_of_its_own()
    command = [*(["unshare", "-rn"] if apart else []), sys.executable, "-m", "tests.attacks.alone", str(folder)]
    command.append("apart" if apart else "here")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((folder / "seen.json").read_text()) | {"apart": apart, "said": done.stderr}
    return found


def test_every_command_does_its_work_among_the_traps(seen):
    well = {name for name, code in seen["ended"].items() if code == 0}
    wanted = {"doctor", "preview", "run", "status", "sql", "why", "versions", "export", "review", "tracked run"}
    assert well >= wanted | {"schedule", "own model"}, seen["said"]
    assert seen["ended"]["bad schedule"] == 2, "the API that the folder's files name is not the user's"
    assert seen["ended"].get("train", 0) == 0, seen["said"]


def test_no_command_runs_what_lies_in_the_folder_where_one_stands(seen):
    assert seen["ran"] == []


def test_no_command_looks_up_a_name_or_connects_but_on_this_machine(seen):
    assert seen["heard"] == []


def test_not_a_packet_leaves_the_machine(seen):
    if not seen["apart"]:
        pytest.skip("the kernel lets us have no network of our own (unshare -rn), in which to listen")
    sent = {line for line in seen["sent"] if not line.startswith(CONTROL)}
    assert len(seen["sent"]) > len(sent), "what is sent on purpose is not heard either"
    assert sent == set()


def test_a_socket_of_a_foreign_page_is_refused_before_anybody_is_asked_for_our_address(seen):
    assert seen["ended"]["foreign socket"] == 403


def test_our_processes_take_the_users_paths_with_them_and_not_the_current_folder(tmp_path, monkeypatch):
    for name in ("theirs", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_module.py").touch()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "../theirs"]))
    monkeypatch.setenv("PREFECT_HOME", "prefect")
    told = environment(MORE="1")
    assert told["PREFECT_HOME"] == str(tmp_path / "here" / "prefect") and told["MORE"] == "1"
    for cwd in (tmp_path / "here", Path("/")):
        asked = "import importlib.util as u; print(*(bool(u.find_spec(n)) for n in ('theirs_module', 'here_module')))"
        done = subprocess.run(python("-c", asked), env=told, cwd=cwd, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["True", "False"]
