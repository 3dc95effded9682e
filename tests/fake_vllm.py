"""A Python that has only a vLLM, and of that only a script: what SEEDBED_VLLM names in the tests of starts and falls.

It takes vLLM's command line and answers as its server does. What the last turn of a prompt says, it does: DIE,
FREEZE and STALL, with a number only until it has been started so often; SLOW n, REFUSE. The folder FAKE_VLLM keeps
what happened (`starts`, `asked`). A file `noise` in it is what its log says first; a file `broken` too, and it does not
come up; a file `late` has it come up in a minute; a file `busy` has its metrics count tokens all the time.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ["FAKE_VLLM"])


def told(name: str) -> str:
    """An option of the command line."""
    return sys.argv[sys.argv.index(f"--{name}") + 1]


def note(file: str, line: object) -> int:
    """A further line in a file of the folder; how many it then has."""
    path = FOLDER / file
    with path.open("a") as opened:
        opened.write(json.dumps(line) + "\n")
    return len(path.read_text().splitlines())


class Server(BaseHTTPRequestHandler):
    """What vLLM answers."""

    protocol_version = "HTTP/1.1"
    lock, in_flight, start = threading.Lock(), 0, 0

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Health and metrics, for everybody."""
        content = f"vllm:generation_tokens_total {time.monotonic()}\n" if (FOLDER / "busy").exists() else ""
        self.answer(200, content.encode())

    def do_POST(self) -> None:
        """A chat, for who has the key."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}":
            return self.answer(401, {"error": "Unauthorized"})
        said = asked["messages"][-1]["content"]
        with Server.lock:
            Server.in_flight += 1
            crowd = Server.in_flight
        if "water wet" not in said:
            port = int(told("port"))
            note("asked", {"said": said, "start": Server.start, "crowd": crowd, "port": port, "model": asked["model"]})
        self.misbehave(said)
        with Server.lock:
            Server.in_flight -= 1
        if "REFUSE" in said:
            return self.answer(400, {"error": {"message": "no such thing"}})
        top = [{"token": "yes", "logprob": math.log(0.9)}, {"token": "no", "logprob": math.log(0.1)}]
        choice = {"message": {"content": f"{said} answered"}, "logprobs": {"content": [{"top_logprobs": top}]}}
        return self.answer(200, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    def misbehave(self, said: str) -> None:
        """Die, freeze or dawdle as told."""
        doing = re.search(r"(DIE|FREEZE|STALL|SLOW) ?([\d.]*)", said)
        if doing is None:
            return
        if doing[1] == "SLOW":
            time.sleep(float(doing[2] or 1))
        elif not doing[2] or Server.start <= float(doing[2]):
            time.sleep(0.1)  # so that whatever else was asked is in flight too
            if doing[1] != "STALL":  # the front door of one that stalls goes on answering
                os.kill(os.getpid(), {"DIE": signal.SIGKILL, "FREEZE": signal.SIGSTOP}[doing[1]])
            time.sleep(60)

    def answer(self, status: int, body: object) -> None:
        """These bytes, or anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve until killed, unless told that all is broken."""
    Server.start = note("starts", {"pid": os.getpid(), "argv": sys.argv, "env": dict(os.environ)})
    if (FOLDER / "noise").exists():
        sys.stderr.write((FOLDER / "noise").read_text())
    broken = FOLDER / "broken"
    if broken.exists():
        sys.exit(broken.read_text())
    if (FOLDER / "late").exists():
        time.sleep(60)
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", int(told("port"))), Server)
    server.serve_forever()


if __name__ == "__main__":
    main()
