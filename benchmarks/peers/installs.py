"""Each peer in an environment of its own, .venv-peers/NAME, made with pip when it is first measured."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"


class Unmeasured(Exception):
    """There is no figure of a program on this machine: the message says why."""


class TooNoisy(Unmeasured):
    """There would be one if the machine were quiet."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer: its driver's module, what pip installs for it, and how many times as fast Seedbed must be."""

    name: str
    driver: str
    pins: tuple[str, ...]
    goal: float

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"{self.name} {self.pins[0].split('==')[1]}"


# What is pinned beside a peer: the client on its hot path, and what it imports without naming it among its needs.
PEERS = (
    Peer("distilabel", "with_distilabel", ("distilabel[openai]==1.5.3", "openai==3.57.0", "requests==2.34.2"), 6),
    Peer("curator", "with_curator", ("bespokelabs-curator==0.1.31",), 10),
    Peer("data-designer", "with_data_designer", ("data-designer==0.9.6",), 15),
)


def python_of(peer: Peer) -> str:
    """The peer's Python, with the peer installed. Raises Unmeasured with pip's last word."""
    folder = FOLDER / peer.name
    done, python = folder / "installed.txt", str(folder / "bin" / "python")
    wanted = "\n".join(peer.pins)
    if done.exists() and done.read_text() == wanted:
        return python
    print(f"installing {peer.title} into {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
    _do([sys.executable, "-Im", "venv", "--clear", str(folder)])
    _do([python, "-Im", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.pins])
    done.write_text(wanted)
    return python


def _do(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Unmeasured(f"cannot be installed: {last_line(ended.stderr or ended.stdout)}")


def last_line(said: str) -> str:
    """What a command said last, which with pip and with Python is why it failed."""
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it did not say why"])[-1].strip()[:200]
