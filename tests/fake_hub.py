"""A server on loopback that speaks the Hub's API as far as publishing needs it, and goes wrong as it is told to.

It keeps whole revisions: a commit is there with all its files or not at all. `hub.faults["commit"]` is a list of what
goes wrong with the next commits, one each; other routes by their names below. What was asked is in `hub.requests`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Fault:
    """`answer` a status instead of doing it; or do it and say nothing (`mute`); or die with half the body read."""

    answer: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    said: str = "scripted fault"
    mute: bool = False
    dies: bool = False
    meanwhile: Callable[[], None] | None = None


@dataclass
class Repo:
    private: bool
    revisions: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return self.revisions[-1][0]

    @property
    def files(self) -> dict[str, bytes]:
        return self.revisions[-1][1]

    def at(self, revision: str) -> dict[str, bytes]:
        return self.files if revision == "main" else dict(self.revisions)[revision]

    def commit(self, files: dict[str, bytes]) -> str:
        oid = hashlib.sha1(f"{len(self.revisions)}{sorted(files)}".encode()).hexdigest()
        self.revisions.append((oid, files))
        return oid


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def writes(self) -> bool:
        return self.method != "GET" and self.method != "HEAD"


def cut(connection: socket.socket) -> None:
    """End a connection under whoever reads from it."""
    with suppress(OSError):  # it was cut before
        connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that was cut is what the test wanted."""


class FakeHub:
    """`with FakeHub().running() as hub`; `hub.url` is the HF_ENDPOINT. It can die, and be started again as it was."""

    def __init__(self, token: str = "") -> None:
        self.repos: dict[str, Repo] = {}
        self.stored: dict[str, bytes] = {}  # large files, by their SHA-256
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[Asked] = []
        self.token = token
        self.port = 0
        self.alive = False
        self.dead = threading.Event()
        self.connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def repo(self, name: str, private: bool = True, **files: bytes) -> Repo:
        """A repository that others made."""
        self.repos[name] = Repo(private)
        self.repos[name].commit({".gitattributes": b"*.parquet filter=lfs\n", **files})
        return self.repos[name]

    def asked(self, route: str) -> list[Asked]:
        return [asked for asked in self.requests if route_of(asked.method, asked.path)[0] == route]

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self.port = self._server.server_address[1]
        self.alive = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def die(self) -> None:
        """No answer is finished, and nobody is let in any more."""
        if self.alive:
            self.alive = False
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self.connections):
                cut(connection)
            self.dead.set()

    @contextmanager
    def running(self) -> Iterator[FakeHub]:
        self.start()
        try:
            yield self
        finally:
            self.die()


Answer = tuple[int, Any, dict[str, str]]
NOT_FOUND: Answer = (404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
REPO = r"(?P<repo>[^/]+/[^/]+)"


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def large(path: str) -> bool:
    return path.endswith(".parquet")


def info(hub: FakeHub, body: bytes, repo: str, revision: str | None) -> Answer:
    found = hub.repos.get(repo)
    if found is None:
        return NOT_FOUND
    oid = revision or found.head
    siblings = [{"rfilename": path} for path in found.at(oid)]
    return 200, {"id": repo, "sha": oid, "private": found.private, "siblings": siblings, "tags": []}, {}


def tree(hub: FakeHub, body: bytes, repo: str, revision: str, folder: str | None) -> Answer:
    """All files of a folder, those of folders in it included."""
    found = hub.repos[repo].at(revision)
    files = {path: content for path, content in found.items() if not folder or path.startswith(f"{folder}/")}
    if folder and not files:
        return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
    listed: list[dict[str, object]] = [] if folder else [{"type": "directory", "path": "data", "oid": "0" * 40}]
    for path, content in files.items():
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": blob(content)}
        if large(path):
            entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
        listed.append(entry)
    return 200, listed, {}


def resolve(hub: FakeHub, body: bytes, repo: str, revision: str, path: str) -> Answer:
    content = hub.repos[repo].at(revision).get(path)
    if content is None:
        return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
    return 200, content, {"X-Repo-Commit": revision, "ETag": f'"{blob(content)}"'}


def refs(hub: FakeHub, body: bytes, repo: str) -> Answer:
    tags = [
        {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid} for name, oid in hub.repos[repo].tags.items()
    ]
    return 200, {"branches": [], "converts": [], "tags": tags}, {}


def create(hub: FakeHub, body: bytes) -> Answer:
    told = json.loads(body)
    name = f"{told['organization']}/{told['name']}"
    if name in hub.repos:
        return 409, {"error": "You already created this dataset repo"}, {}
    hub.repo(name, private=told.get("visibility") == "private")
    return 200, {"url": f"{hub.url}/datasets/{name}"}, {}


def validate_yaml(hub: FakeHub, body: bytes) -> Answer:
    return 200, {"errors": [], "warnings": []}, {}


def preupload(hub: FakeHub, body: bytes, repo: str, revision: str) -> Answer:
    there = hub.repos[repo].files
    ignored = there.get(".gitignore", b"").decode().split()
    files = []
    for file in json.loads(body)["files"]:
        path, old = file["path"], there.get(file["path"])
        mode = "lfs" if large(path) else "regular"
        oid = None if old is None else sha256(old) if large(path) else blob(old)
        files.append({"path": path, "uploadMode": mode, "shouldIgnore": path in ignored, "oid": oid})
    return 200, {"files": files}, {}


def batch(hub: FakeHub, body: bytes, repo: str) -> Answer:
    objects = []
    for wanted in json.loads(body)["objects"]:
        upload = {"href": f"{hub.url}/store/{wanted['oid']}"}
        objects.append(wanted if wanted["oid"] in hub.stored else {**wanted, "actions": {"upload": upload}})
    return 200, {"transfer": "basic", "objects": objects}, {}


def store(hub: FakeHub, body: bytes, oid: str) -> Answer:
    if sha256(body) != oid:
        return 400, {"error": "another content"}, {}
    hub.stored[oid] = body
    return 200, b"", {}


def commit(hub: FakeHub, body: bytes, repo: str, revision: str) -> Answer:
    """All lines of the body or none: the files of the new revision are put together before it is one."""
    found = hub.repos[repo]
    lines = [json.loads(line) for line in body.splitlines()]
    if lines[0]["value"].get("parentCommit") != found.head:
        return 412, {"error": "A commit has happened since. Please refresh and try again."}, {}
    files = dict(found.files)
    for line in lines[1:]:
        value = line["value"]
        match line["key"]:
            case "file":
                files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile" if value["oid"] in hub.stored:
                files[value["path"]] = hub.stored[value["oid"]]
            case "deletedFile" if value["path"] in files:
                del files[value["path"]]
            case _:
                return 400, {"error": f"cannot do {line['key']} {value['path']}"}, {}
    oid = found.commit(files)
    return 200, {"commitUrl": f"{hub.url}/datasets/{repo}/commit/{oid}", "commitOid": oid}, {}


def tag(hub: FakeHub, body: bytes, repo: str, revision: str) -> Answer:
    name = json.loads(body)["tag"]
    if name in hub.repos[repo].tags:
        return 409, {"error": "tag exists"}, {}
    hub.repos[repo].tags[name] = revision
    return 200, {}, {}


ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", rf"/api/datasets/{REPO}(/revision/(?P<revision>[^/]+))?", info),
    ("GET", rf"/api/datasets/{REPO}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?", tree),
    ("GET", rf"/api/datasets/{REPO}/refs", refs),
    ("GET|HEAD", rf"/datasets/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
    ("POST", r"/api/repos/create", create),
    ("POST", r"/api/validate-yaml", validate_yaml),
    ("POST", rf"/api/datasets/{REPO}/preupload/(?P<revision>[^/]+)", preupload),
    ("POST", rf"/datasets/{REPO}\.git/info/lfs/objects/batch", batch),
    ("PUT", r"/store/(?P<oid>[0-9a-f]+)", store),
    ("POST", rf"/api/datasets/{REPO}/commit/(?P<revision>[^/]+)", commit),
    ("POST", rf"/api/datasets/{REPO}/tag/(?P<revision>[^/]+)", tag),
)


def route_of(method: str, path: str) -> tuple[str, Callable[..., Answer] | None, dict[str, str]]:
    for methods, pattern, function in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and method in methods.split("|"):
            return function.__name__, function, match.groupdict()
    return "", None, {}


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.hub.connections.add(self.connection)

    def finish(self) -> None:
        self.hub.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # so named there
        """Quiet: the tests read `requests`."""

    def handle_any(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        name, function, found = route_of(self.command, path)
        fault = hub.faults[name].pop(0) if hub.faults.get(name) else Fault()
        length = int(self.headers.get("Content-Length") or 0)
        if fault.dies:
            self.rfile.read(length // 2)
            hub.die()
            return
        body = self._body(length)
        hub.requests.append(Asked(self.command, path, {k.lower(): v for k, v in self.headers.items()}, body))
        if fault.meanwhile:
            fault.meanwhile()
        if fault.answer:
            self._answer(fault.answer, {"error": fault.said}, dict(fault.headers))
        elif hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}" and name != "store":
            self._answer(401, {"error": "Invalid credentials in Authorization header"}, {})
        elif function is None:
            self._answer(404, {"error": "no such page"}, {})
        else:
            status, told, headers = function(hub, body, **found)
            if fault.mute:
                cut(self.connection)
                return
            part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if part and status == 200 and isinstance(told, bytes):
                status, told = 206, told[int(part[1]) : int(part[2]) + 1]
            self._answer(status, told, headers)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 # so named there

    def _body(self, length: int) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(length)
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, told: object, headers: dict[str, str]) -> None:
        content = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
