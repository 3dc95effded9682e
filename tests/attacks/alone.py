"""Every command in a folder full of traps, and with nobody to call: `python -m tests.attacks.alone FOLDER`, apart.

Run by `unshare -rn` it is in a network of one loopback, to which every other address leads too; so each packet that
anything sends elsewhere is seen here, a look-up of a name included, whatever made it. Beside that, each Python of ours
tells of names and connections by an audit hook, also where there is no such network. What was seen is in seen.json.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml

from benchmarks.mock_server import running
from benchmarks.prefect_server import Served, serving
from tests.test_run import ROOT, recipe
from tests.tiny_model import tiny_model
from tests.tiny_version import options, preferences

SEEDBED = str(Path(sys.executable).with_name("seedbed"))
TRAPS = (
    *("sitecustomize", "usercustomize", "encodings", "json", "asyncio", "typer", "yaml", "seedbed", "flows", "ui"),
    *("generators", "trainer", "duckdb", "prefect", "httpx", "streamlit", "starlette", "uvicorn", "torch", "trl"),
    *("transformers", "datasets", "vllm", "guard", "painter"),
)
HOOK = """
import os, sys
def hear(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        told = args[0]
    elif event in ("socket.connect", "socket.sendto"):
        told = args[1][0] if isinstance(args[1], tuple) else ""
    else:
        return
    told = told.decode() if isinstance(told, bytes) else str(told or "")
    if told not in ("", "localhost", "::1", "0.0.0.0", "::") and not told.startswith("127."):
        file = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{{event}} {{told}} by {{sys.argv}}\\n".encode())
        os.close(file)
sys.addaudithook(hear)
"""
STREAMLIT = """
[server]
address = "0.0.0.0"
baseUrlPath = "sub"
enableCORS = false
corsAllowedOrigins = ["http://evil.example"]
[browser]
serverAddress = "evil.example"
"""
PREFECT = 'url = "http://evil.example/api"\n'


def trap(folder: Path) -> None:
    """Everything that is run or read where somebody stands; each module leaves a file if it is run."""
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(folder / name)!r} + '.ran', 'w'); raise SystemExit('caught')")
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "config.toml").write_text(STREAMLIT)
    (folder / ".streamlit" / "secrets.toml").write_text('[auth]\nredirect_uri = "http://evil.example"\n')
    (folder / ".env").write_text("PREFECT_API_URL=http://evil.example/api\nHF_ENDPOINT=http://evil.example\n")
    (folder / "prefect.toml").write_text(f"[api]\n{PREFECT}")
    (folder / "pyproject.toml").write_text(f"[tool.prefect.api]\n{PREFECT}")


class Alone:
    """A folder of traps to stand in, and an environment in which everything is heard."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.here = folder, folder / "here"
        self.here.mkdir()
        trap(self.here)
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(HOOK.format(log=str(folder / "heard")))
        (folder / "user").mkdir()
        self.ended: dict[str, int] = {}
        self._started = list[subprocess.Popen[bytes]]()
        self.environment = {
            "HOME": str(folder / "user"),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{folder / 'hook'}{os.pathsep}{ROOT}",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *command: str, **more: str) -> tuple[subprocess.Popen[bytes], int]:
        """A command at a terminal of its own, without which some libraries call nobody; and that terminal."""
        terminal, end = pty.openpty()
        given = {**self.environment, **more}
        process = subprocess.Popen(
            command, cwd=self.here, env=given, stdin=end, stdout=end, stderr=end, start_new_session=True
        )
        os.close(end)
        self._started.append(process)
        return process, terminal

    def end(self) -> None:
        """End whatever did not end by itself."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def do(self, name: str, *command: str, **more: str) -> str:
        """A command to its end; what it said."""
        process, terminal = self.start(*command, **more)
        said = b"".join(chunks(terminal)).decode(errors="replace")
        self.ended[name] = process.wait()
        if self.ended[name]:
            sys.stderr.write(f"{name} ended with {self.ended[name]}:\n{said[-2000:]}\n")
        return said


def chunks(terminal: int) -> Iterator[bytes]:
    with suppress(OSError):  # Linux's word for the end of a terminal
        while chunk := os.read(terminal, 65536):
            yield chunk


def until(true: Callable[[], object], what: str, seconds: float = 90) -> None:
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError(what)
        time.sleep(0.2)


def commands(alone: Alone, home: str, base_url: str) -> None:
    """Those that begin and end."""
    written = str(recipe(alone.folder, base_url, per_leaf=1))
    at = ("--home", home)
    alone.do("doctor", SEEDBED, "doctor", written, *at)
    alone.do("preview", SEEDBED, "preview", written, "--rows", "1", *at)
    alone.do("run", SEEDBED, "run", written, *at)
    alone.do("status", SEEDBED, "status", *at)
    sample = re.findall(r"\w{20}", alone.do("sql", SEEDBED, "sql", "SELECT sample_id FROM samples", *at))[0]
    alone.do("why", SEEDBED, "why", sample, "--full", *at)
    alone.do("versions", SEEDBED, "versions", *at)
    alone.do("export", SEEDBED, "export", "scripted", "out.jsonl", *at)
    alone.do("push", SEEDBED, "push", "scripted", *at)
    alone.do("bad schedule", SEEDBED, "schedule", written, "--cron", "0 3 * * *", *at)


def models(alone: Alone) -> None:
    """A run of a model in its own process, and a training where that is installed."""
    folder = alone.folder
    tiny_model(folder / "model")
    (folder / "own").mkdir()
    path = recipe(folder / "own", "http://127.0.0.1:9/v1", per_leaf=1, curate=["rules"])
    own = yaml.safe_load(path.read_text()) | {"model": {"engine": "transformers", "model": str(folder / "model")}}
    path.write_text(yaml.safe_dump(own))
    said = alone.do("own model", SEEDBED, "run", str(path), "--home", str(folder / "own"))
    alone.ended["own model"] = (
        0 if "model's context" in " ".join(said.split()) else 1
    )  # it is too small, but it is asked
    if importlib.util.find_spec("trl"):
        preferences(folder / "toy")
        given = ("--options", str(options(folder, epochs=1)), "--objective", "dpo")
        alone.do("train", SEEDBED, "train", "toy", *given, "--home", str(folder / "toy"))


def pages(alone: Alone, home: str) -> None:
    """The review pages, asked by a browser that another site's page drives."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process, terminal = alone.start(SEEDBED, "review", "--home", home, "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    until(lambda: asked(url) == 200, "the pages are not there")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade |= {"Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==", "Origin": "http://evil.example"}
    alone.ended["foreign socket"] = asked(f"{url}/_stcore/stream", **upgrade)
    process.send_signal(signal.SIGINT)
    list(chunks(terminal))
    alone.ended["review"] = process.wait()


def asked(url: str, **headers: str) -> int:
    try:
        with urlopen(Request(url, headers=headers), timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


def tracked(alone: Alone, base_url: str, prefect: Served) -> None:
    """A run that Prefect shows, and a schedule that it serves."""
    (alone.folder / "shown").mkdir()
    written, home = str(recipe(alone.folder / "shown", base_url, per_leaf=1)), str(alone.folder / "shown")
    alone.do("tracked run", SEEDBED, "run", written, "--home", home, **prefect.environment)
    process, terminal = alone.start(
        SEEDBED, "schedule", written, "--cron", "0 3 * * *", "--home", home, **prefect.environment
    )
    threading.Thread(target=lambda: list(chunks(terminal)), daemon=True).start()
    until(lambda: prefect.ask("deployments/filter", {}), "nothing is served")
    alone.ended["schedule"] = 0  # it serves; how it ends hangs on how far it is when it is told to
    process.send_signal(signal.SIGINT)
    until(lambda: process.poll() is not None, "the schedule does not end")


@contextmanager
def listening() -> Iterator[list[str]]:
    """All that is sent to any address but the loopback's, in a network where all of it comes by here."""
    seen = list[str]()
    for command in ("link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"):
        subprocess.run(["ip", *command.split()], check=False)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))

    def listen() -> None:
        while True:
            packet = wire.recv(65536)
            if packet[0] >> 4 == 6:
                to = socket.inet_ntop(socket.AF_INET6, packet[24:40])
            else:
                to = socket.inet_ntop(socket.AF_INET, packet[16:20])
            if to != "::1" and not to.startswith(("127.", "ff02:")):
                seen.append(f"{to} {packet[28:100]!r}")

    threading.Thread(target=listen, daemon=True).start()
    yield seen


def main(folder: Path, apart: bool) -> None:
    """Do everything once, and write down what was seen."""
    alone = Alone(folder)
    home = str(folder / "home")
    with listening() if apart else nullcontext(list[str]()) as sent, running() as base_url:
        if apart:
            asked("http://192.0.2.1/")  # so that it is known that one would be seen
        commands(alone, home, base_url)
        models(alone)
        with suppress(TimeoutError):  # what did not come up has not ended, which is seen
            pages(alone, home)
        with suppress(TimeoutError), serving(alone.environment) as prefect:
            tracked(alone, base_url, prefect)
        alone.end()
    heard = folder / "heard"
    told = {"ended": alone.ended, "sent": sent, "ran": sorted(path.stem for path in alone.here.glob("*.ran"))}
    told["heard"] = heard.read_text().splitlines() if heard.exists() else []
    (folder / "seen.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "apart")
