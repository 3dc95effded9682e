"""Pushing: one commit or none, whatever dies; nothing of others is lost, and the token is seen in no place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from exporters.card import write_card
from exporters.manifest import write_manifest
from exporters.tree import appearing, write_data
from flows.card_facts import facts_of
from flows.publication import Publication
from seedbed.store import Store
from seedbed.store.provenance import published_batches
from tests.fake_hub import FakeHub, Fault, route_of
from tests.grown import pairs, rows, stored
from tests.test_run import ROOT, seedbed

REPO = "me/desk"
TOKEN = "hf_" + "CanaryToBeSeenInNoPlaceWhatsoever1"
TERMS = Publication(license="cc-by-4.0", model_licences={"other-3b": "mit"})
PUBLISH = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from exporters.hub import Terms, publish, tree_of
from exporters.hub_client import HubError
folder, terms = sys.argv[1:]
try:
    print(json.dumps(asdict(publish("me/desk", tree_of(Path(folder)), Terms(**json.loads(terms)), (0.2, 0.5)))))
except HubError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def hub():
    with FakeHub(TOKEN).running() as running:
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("store") / "home", [*rows(20), *pairs(20, 10)])


@pytest.fixture(scope="module")
def tree(store, tmp_path_factory):
    return plant(store, tmp_path_factory.mktemp("tree") / "desk-v1")


def plant(store: Store, folder: Path, form: str = "messages") -> Path:
    """A tree as `build` makes it, but not looked at, which takes seconds."""
    facts = facts_of(store, "desk-v1", TERMS.model_copy(update={"repo": REPO}))
    with appearing(folder) as part:
        parts = write_data(published_batches(store, "desk-v1", 0.1), form, part)
        (part / "README.md").write_text(write_card(facts, parts))
        write_manifest(facts, parts, part)
    return folder


def environment(hub: FakeHub, home: Path, token: str = TOKEN) -> dict[str, str]:
    """That of a process for which the fake is the Hub."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    hf = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    return {**plain, **hf, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def publish(hub: FakeHub, folder: Path, token: str = TOKEN, **terms: bool) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PUBLISH, str(folder), json.dumps(terms)]
    given = environment(hub, folder.parent, token)
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr and (not token or token not in done.stderr + done.stdout), done.stderr
    return done


def well(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def local(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ours(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path != ".gitattributes"}


def test_a_push_is_one_commit_of_exactly_the_tree_in_a_private_repository_with_a_tag(hub, tree):
    told = well(publish(hub, tree))
    repo = hub.repos[REPO]
    assert repo.private and len(repo.revisions) == 2 and len(hub.asked("commit")) == 1
    assert ours(repo.files) == local(tree)
    assert told["committed"] and told["revision"] == repo.head == repo.tags["desk-v1"]
    assert (
        hub.asked("commit")[0].body.splitlines()[0].endswith(b'"parentCommit": "%s"}}' % repo.revisions[0][0].encode())
    )


def test_pushing_again_commits_nothing(hub, tree):
    well(publish(hub, tree))
    again = well(publish(hub, tree))
    assert not again["committed"] and len(hub.repos[REPO].revisions) == 2 and len(hub.asked("commit")) == 1
    assert again["tag"] == "tag desk-v1 stays at this revision"


@pytest.mark.parametrize("there", [False, True], ids=["a new repository", "over an older version"])
def test_a_hub_that_dies_mid_way_stays_at_its_old_revision_and_the_same_command_publishes_afterwards(
    hub, store, tree, tmp_path, there
):
    if there:
        well(publish(hub, plant(store, tmp_path / "old", "prompt-completion")))
    before = list(hub.repos[REPO].revisions) if there else None
    hub.faults["commit"] = [Fault(dies=True)]
    done = publish(hub, tree)
    assert done.returncode == 1 and "Run the same command again" in done.stderr and not hub.alive
    old = list(hub.repos[REPO].revisions)
    assert old == before if there else [*old[0][1]] == [".gitattributes"]
    hub.start()
    assert well(publish(hub, tree))["committed"]
    assert ours(hub.repos[REPO].files) == local(tree) and hub.repos[REPO].revisions[:-1] == old


def test_a_hub_that_dies_between_the_files_and_comes_back_gets_them_all(hub, tree):
    def come_back() -> None:
        hub.dead.wait(60)
        hub.start()

    hub.faults["store"] = [Fault(dies=True)]
    threading.Thread(target=come_back).start()
    well(publish(hub, tree))
    assert ours(hub.repos[REPO].files) == local(tree) and len(hub.repos[REPO].revisions) == 2


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub, tree):
    hub.faults["commit"] = [Fault(mute=True)]
    told = well(publish(hub, tree))
    assert told["committed"] and len(hub.repos[REPO].revisions) == 2 and len(hub.asked("commit")) == 1
    assert told["revision"] == hub.repos[REPO].head == hub.repos[REPO].tags["desk-v1"]


@pytest.mark.parametrize(
    ("route", "status"),
    [("info", 503), ("create", 429), ("validate_yaml", 502), ("commit", 503), ("commit", 502), ("tag", 429)],
)
def test_passing_failures_are_waited_out(hub, tree, route, status):
    hub.faults[route] = [Fault(status, said="<html>busy</html>" if status == 502 else "busy")]
    well(publish(hub, tree))
    assert len(hub.repos[REPO].revisions) == 2 and hub.repos[REPO].tags


def test_a_wait_that_the_hub_asks_for_is_kept(hub, tree):
    hub.faults["commit"] = [Fault(429, (("Retry-After", "3"),))]
    begun = time.monotonic()
    done = publish(hub, tree)
    assert well(done) and time.monotonic() - begun > 3 and "trying again in 3 s" in done.stderr
    assert len(hub.asked("commit")) == 2 and len(hub.repos[REPO].revisions) == 2


def test_a_push_in_between_is_never_undone(hub, tree):
    well(publish(hub, tree))
    repo = hub.repos[REPO]
    hub.repos[REPO].commit({**repo.files, "README.md": b"by hand", "notes.md": b"theirs"})
    hub.faults["commit"] = [Fault(meanwhile=lambda: repo.commit({**repo.files, "more.md": b"just now"}) and None)]
    done = publish(hub, tree, take_over=True)
    assert done.returncode == 1 and "someone pushed to me/desk in between" in done.stderr
    assert repo.files["README.md"] == b"by hand" and repo.files["more.md"] == b"just now"
    well(publish(hub, tree, take_over=True))
    assert {**local(tree), "notes.md": b"theirs", "more.md": b"just now"} == ours(repo.files)


@pytest.mark.parametrize(
    ("route", "status", "said"),
    [
        ("info", 401, "The token is not accepted. Sign in with `hf auth login`"),
        ("create", 403, "Make one with write access"),
        ("commit", 403, "is at its old revision [0-9a-f]{8}; nothing was published"),
        ("validate_yaml", 400, "Invalid metadata in README.md"),
    ],
)
def test_a_refusal_says_what_to_do_and_hides_the_token_that_the_hub_repeats(hub, tree, route, status, said):
    echo = f"you sent Bearer {TOKEN}"
    hub.faults[route] = [Fault(status, said=echo)]
    done = publish(hub, tree)
    assert done.returncode == 1 and ("[secret]" in done.stderr or route == "validate_yaml"), done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert not hub.repos or len(hub.repos[REPO].revisions) == 1


def test_without_a_token_nothing_is_asked(hub, tree):
    done = publish(hub, tree, token="")
    assert done.returncode == 1 and "no token for the Hub. Sign in with `hf auth login`" in done.stderr
    assert hub.requests == []


def test_a_repository_of_others_is_refused_unless_told_and_their_files_stay(hub, tree):
    theirs = {"README.md": b"theirs", "data/old.csv": b"a,b"}
    hub.repo(REPO, **theirs)
    done = publish(hub, tree)
    assert done.returncode == 1 and "me/desk was not made by Seedbed: it holds README.md, data/old.csv" in done.stderr
    assert ours(hub.repos[REPO].files) == theirs and not any(asked.writes for asked in hub.requests)
    well(publish(hub, tree, take_over=True))
    assert ours(hub.repos[REPO].files) == {**local(tree), "data/old.csv": b"a,b"}


def test_an_empty_repository_that_was_made_by_hand_is_used(hub, tree):
    hub.repo(REPO)
    well(publish(hub, tree))
    assert hub.asked("create") == [] and ours(hub.repos[REPO].files) == local(tree)


def test_data_files_of_an_older_version_go_in_the_same_commit_and_no_others(hub, store, tree, tmp_path):
    old = plant(store, tmp_path / "old", "prompt-completion")
    well(publish(hub, old))
    repo = hub.repos[REPO]
    changed = sorted(local(old).keys() - local(tree).keys())[0]
    repo.commit({**repo.files, "data/messages/mine.parquet": b"theirs", changed: b"mended by hand"})
    told = well(publish(hub, tree))
    assert told["committed"] and len(repo.revisions) == 4
    assert ours(repo.files) == {
        **local(tree), "data/messages/mine.parquet": b"theirs", changed: b"mended by hand"
    }  # fmt: skip
    assert len(local(old).keys() - local(tree).keys()) > 1, "and some were ours to take away"


def test_a_card_that_was_changed_on_the_hub_is_not_written_over_unless_told(hub, store, tree, tmp_path):
    well(publish(hub, plant(store, tmp_path / "old", "prompt-completion")))
    repo = hub.repos[REPO]
    repo.commit({**repo.files, "README.md": b"a better card"})
    done = publish(hub, tree)
    assert done.returncode == 1 and "README.md was changed since Seedbed's last push and would be lost" in done.stderr
    assert repo.files["README.md"] == b"a better card"
    well(publish(hub, tree, take_over=True))
    assert repo.files["README.md"] == local(tree)["README.md"]


def test_nothing_goes_to_a_public_repository_unless_told(hub, tree):
    hub.repo(REPO, private=False)
    done = publish(hub, tree)
    assert done.returncode == 1 and "me/desk is public, and you asked for no public data" in done.stderr
    assert not any(asked.writes for asked in hub.requests)
    well(publish(hub, tree, public=True))


def test_what_the_hub_left_out_of_a_commit_is_noticed(hub, tree):
    hub.repo(REPO, **{".gitignore": b"manifest.json"})
    done = publish(hub, tree, take_over=True)
    assert done.returncode == 1 and "manifest.json is not as sent" in done.stderr


def test_a_tag_that_could_not_be_set_is_set_by_the_same_command(hub, tree):
    hub.faults["tag"] = [Fault(403)]
    done = publish(hub, tree)
    assert done.returncode == 1 and "desk-v1 is published in me/desk" in done.stderr and "has no tag yet" in done.stderr
    assert not well(publish(hub, tree))["committed"] and hub.repos[REPO].tags["desk-v1"] == hub.repos[REPO].head


def test_a_hub_that_has_no_xet_storage_is_told_how_to_send_without_it(hub, tree):
    command = [sys.executable, "-c", PUBLISH, str(tree), "{}"]
    given = {**environment(hub, tree.parent), "HF_HUB_DISABLE_XET": "0"}
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "With HF_HUB_DISABLE_XET=1 files are sent in the older way" in done.stderr
    assert len(hub.repos[REPO].revisions) == 1


def test_a_tree_that_was_changed_after_it_was_looked_at_is_not_sent(hub, store, tmp_path):
    folder = plant(store, tmp_path / "tree")
    (folder / "README.md").write_text("other")
    done = publish(hub, folder)
    assert done.returncode == 1 and "is not what was built and checked" in done.stderr and hub.requests == []


def cli(hub: FakeHub, store: Store, *arguments: object, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    return seedbed("push", *arguments, home=store.home, **environment(hub, store.home, token))


@pytest.fixture
def options(tmp_path):
    path = tmp_path / "publish.yaml"
    path.write_text("license: cc-by-4.0\nmodel_licences: {other-3b: mit}\npretty_name: Desk\n")
    return path


def test_the_command_line_sends_nothing_unless_told_and_the_token_is_seen_in_no_place(hub, options, tmp_path):
    store = stored(tmp_path / "home", [*rows(12), *pairs(12, 4)])
    dry = cli(hub, store, "desk", REPO, "--options", options)
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert not any(asked.writes for asked in hub.requests) and hub.repos == {}
    for said in ("data/messages/train-00000-of-00001.parquet", "no such data set yet", "read by TRL", "license: cc-by"):
        assert said in dry.stdout, said
    told = " ".join(dry.stdout.split())
    assert f"push desk-v1 {REPO} --no-dry-run --options {options} --home {store.home}" in told
    done = cli(hub, store, "desk", REPO, "--options", options, "--no-dry-run", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (
        facts["pushed"]["committed"] and facts["pushed"]["revision"] == hub.repos[REPO].head and not facts["problems"]
    )
    assert ours(hub.repos[REPO].files) == local(store.home / "trees" / "desk-v1")
    known = TOKEN.encode()
    assert not any(known in content for content in local(tmp_path).values()), "in no file: tree, store or cache"
    assert all(TOKEN not in one.stdout + one.stderr for one in (dry, done))
    assert not any(known in asked.body or TOKEN in asked.path for asked in hub.requests)
    assert all(route_of(asked.method, asked.path)[0] for asked in hub.requests), "nothing else was asked: no telemetry"
    names = {name for asked in hub.requests for name, value in asked.headers.items() if TOKEN in value}
    assert names == {"authorization"}
