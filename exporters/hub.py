"""Publishing a tree on the Hugging Face Hub: one commit, made only on the revision that was looked at.

A commit is atomic, so the remote is at its old revision or at the new one, whatever dies in between. Where it is not
known whether a commit arrived (a lost answer, a dying server), the head is read again and compared file by file before
anything is sent once more. The token is huggingface_hub's own affair: it is never asked for, passed on or shown here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exporters import manifest
from exporters.hub_client import (
    SIGN_IN,
    WAITS,
    HubError,
    failure_of,
    hub_api,
    hub_errors,
    patiently,
    signed_in,
    wait_for,
)
from exporters.manifest import Hashes, Manifest, git_blob
from exporters.tree import sha256_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_GIVEN = ".gitattributes"  # the one file that the Hub puts into a new repository


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a folder as they were checked, by their paths in it, the manifest among them."""

    folder: Path
    version: str
    files: Mapping[str, Hashes]


@dataclass(frozen=True, slots=True)
class Remote:
    """A data set on the Hub at its latest revision; `head` is "" where there is none that the token may see."""

    repo: str
    head: str = ""
    private: bool = True
    files: Mapping[str, Hashes] | None = None
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a push would do, by path. `overwritten` were changed there since our last push, or are not ours at all."""

    head: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    left: tuple[str, ...]
    overwritten: tuple[str, ...]
    refusals: tuple[str, ...]

    @property
    def none(self) -> bool:
        """Whether the remote holds exactly this tree already."""
        return not (self.added or self.changed or self.removed)


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where a tree is on the Hub. `committed` is false where it was there before; `tag` says what came of the tag."""

    repo: str
    url: str
    revision: str
    committed: bool
    tag: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms a repository may be written to."""

    public: bool = False
    take_over: bool = False


def tree_of(folder: Path) -> Tree:
    """The tree in a folder. Raises HubError where a file is not what its manifest says, or there is no manifest."""
    told = manifest.manifest_of(folder)
    if told is None:
        raise HubError(f"{folder} holds no tree of Seedbed's: build it first")
    for path, hashes in told.files.items():
        file = folder / path
        if not file.is_file() or sha256_of(file) != hashes.sha256:
            raise HubError(f"{file} is not what was built and checked. Build the tree again, then push it")
    own = folder / manifest.FILE
    return Tree(folder, told.version, {**told.files, manifest.FILE: Hashes(sha256_of(own), git_blob(own))})


def look(repo: str, waits: Sequence[float] = WAITS) -> Remote:
    """What the Hub has; nothing is written. Raises HubError."""
    return patiently(lambda: _look(repo, None), repo, waits)


def compare(remote: Remote, tree: Tree, terms: Terms) -> Changes:
    """What pushing the tree would change, and why it must not be pushed there, if so."""
    there = remote.files or {}
    ours = remote.manifest.files if remote.manifest else {}
    changed = [path for path in _differing(remote, tree) if path in there]
    old = remote.manifest.data_files if remote.manifest else []
    removed = [path for path in old if path in there and path not in tree.files and _as_told(there[path], ours[path])]
    theirs = [path for path in changed if path != manifest.FILE or not remote.manifest]
    overwritten = [path for path in theirs if path not in ours or not _as_told(there[path], ours[path])]
    left = [path for path in there if path not in tree.files and path not in removed and path != _GIVEN]
    return Changes(
        head=remote.head,
        added=tuple(path for path in tree.files if path not in there),
        changed=tuple(changed),
        removed=tuple(removed),
        left=tuple(left),
        overwritten=tuple(overwritten),
        refusals=tuple(_refusals(remote, overwritten, terms)),
    )


def publish(repo: str, tree: Tree, terms: Terms, waits: Sequence[float] = WAITS) -> Pushed:
    """Put the tree on the Hub as one commit, and tag it with the version; a repository that is not there is made.

    `waits` are the seconds before each further try, where the Hub names none.

    Raises:
        HubError: it must not be written to, or something failed; running it again takes it up where it is.
    """
    if not signed_in():
        raise HubError(f"no token for the Hub. {SIGN_IN}")
    remote = look(repo, waits)
    if not remote.head:
        patiently(lambda: _create(repo, terms), repo, waits)
        remote = look(repo, waits)
    changes = compare(remote, tree, terms)
    if changes.refusals:
        raise HubError("; ".join(changes.refusals))
    revision = remote.head if changes.none else _commit(remote, tree, changes, waits)
    try:
        tag = patiently(lambda: _tag(repo, tree.version, revision), repo, waits)
    except HubError as error:
        raise HubError(
            f"{tree.version} is published in {repo} at {revision[:8]}, but has no tag yet: {error}"
        ) from error
    return Pushed(repo, f"{hub_api().endpoint}/datasets/{repo}", revision, not changes.none, tag)


def _refusals(remote: Remote, overwritten: Sequence[str], terms: Terms) -> list[str]:
    found = []
    others = [path for path in remote.files or {} if path != _GIVEN]
    if others and not remote.manifest and not terms.take_over:
        found.append(
            f"{remote.repo} was not made by Seedbed: it holds {_some(others)}. "
            "Name another repository, or write `take_over: true` in the options to add to this one"
        )
    elif overwritten and not terms.take_over:
        found.append(
            f"in {remote.repo}, {_some(overwritten)} was changed since Seedbed's last push and would be lost. "
            "Save it, then write `take_over: true` in the options to replace it"
        )
    if remote.head and not remote.private and not terms.public:
        found.append(
            f"{remote.repo} is public, and you asked for no public data. "
            "Add --public, or make it private on its settings page first"
        )
    return found


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _as_told(there: Hashes, told: Hashes) -> bool:
    """Whether a file is what our manifest says: by SHA-256 where it is a large file there, else by git's id."""
    if there.sha256:
        return there.sha256 == told.sha256
    return not told.blob or there.blob == told.blob


def _differing(remote: Remote, tree: Tree) -> list[str]:
    """The tree's files that the remote has not, or not so."""
    there = remote.files or {}

    def same(path: str) -> bool:
        if there[path].sha256:
            return there[path].sha256 == tree.files[path].sha256
        return there[path].blob == git_blob(tree.folder / path)

    return [path for path in tree.files if path not in there or not same(path)]


def _look(repo: str, revision: str | None) -> Remote:
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    api = hub_api()
    try:
        info = api.dataset_info(repo, revision=revision, timeout=30)
    except RepositoryNotFoundError:
        return Remote(repo)
    head = str(info.sha)
    listed = api.list_repo_tree(repo, recursive=True, revision=head, repo_type="dataset")
    files = {
        file.path: Hashes(file.lfs.sha256 if file.lfs else "", file.blob_id)
        for file in listed
        if isinstance(file, RepoFile)
    }
    told = _remote_manifest(api, repo, head) if manifest.FILE in files else None
    return Remote(repo, head, bool(info.private), files, told)


def _remote_manifest(api: HfApi, repo: str, revision: str) -> Manifest | None:
    with tempfile.TemporaryDirectory() as cache:
        path = api.hf_hub_download(repo, manifest.FILE, repo_type="dataset", revision=revision, cache_dir=cache)
        return manifest.read_manifest(Path(path).read_bytes())


def _create(repo: str, terms: Terms) -> None:
    hub_api().create_repo(repo, repo_type="dataset", private=not terms.public, exist_ok=True)


def _commit(remote: Remote, tree: Tree, changes: Changes, waits: Sequence[float]) -> str:
    """The revision of the one commit. After any failure the head tells whether it was made."""
    repo = remote.repo
    for wait in (*waits, None):
        sent, failure = None, None
        try:
            sent = _send(remote, tree, changes)
        except hub_errors() as error:
            failure = failure_of(error, repo)
        now = _read_back(repo, sent, waits)
        missing = _differing(now, tree)
        if not missing:
            return now.head
        if failure is None:
            why = "Does a .gitignore there keep them out?"
            raise HubError(f"{repo} took the commit {now.head[:8]}, but {_some(missing)} is not as sent. {why}")
        if now.head != remote.head:
            raise HubError(
                f"someone pushed to {repo} in between (it is at {now.head[:8]}); nothing of yours is there. "
                "Run the same command again: it looks at what is there now"
            )
        if wait is None or not failure.passing:
            raise HubError(f"{failure.told}. {repo} is at its old revision {now.head[:8]}; nothing was published")
        wait_for(failure, wait)
    raise AssertionError("the last round returns or raises")


def _read_back(repo: str, revision: str | None, waits: Sequence[float]) -> Remote:
    return patiently(lambda: _look(repo, revision), repo, waits)


def _send(remote: Remote, tree: Tree, changes: Changes) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path, tree.folder / path) for path in (*changes.added, *changes.changed)
    ]
    operations += [CommitOperationDelete(path) for path in changes.removed]
    made = hub_api().create_commit(
        remote.repo,
        operations,
        commit_message=f"Publish {tree.version}",
        repo_type="dataset",
        parent_commit=remote.head,
    )
    return made.oid


def _tag(repo: str, version: str, revision: str) -> str:
    """Set the version's tag; one that is there stays where it is."""
    api = hub_api()
    for tag in api.list_repo_refs(repo, repo_type="dataset").tags:
        if tag.name == version:
            at = "this revision" if tag.target_commit == revision else f"its revision {tag.target_commit[:8]}"
            return f"tag {version} stays at {at}"
    api.create_tag(repo, tag=version, revision=revision, repo_type="dataset", exist_ok=True)
    return f"tag {version} set"
