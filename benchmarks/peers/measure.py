"""Records a second for generating, judging and storing, 64 calls at once: Seedbed against three peers.

    python -m benchmarks.peers.measure                           # against all three; a quarter of an hour
    python -m benchmarks.peers.measure --records 600 --repeats 1 curator    # one, to see that it works

A record is one call that writes and one that judges, with the same two prompts and the same sampling for all
(prompts.py), answered at once by the mock server, and stored: by the peers as Parquet, by Seedbed in its store. Every
run is a process of its own with a server of its own, which counts the calls. A rate is marginal: a small and a large
run in turn, (records_large - records_small) / (seconds_large - seconds_small) of the processes' wall time, so that
imports, set-up and whatever else comes once a run is excluded alike for all. Seedbed's runs are longer (OURS), because
so short a difference is lost in the noise otherwise. Telemetry of the peers is off; nothing they have cached is reused.

What each does more or less than the others:

- Seedbed takes its whole walk: planned places, a ledger of all calls from which a run resumes, verdicts, a version
  frozen at the end. Its judge's words are a verdict that keeps or drops. It makes no second copy as Parquet.
- distilabel asks a batch at once and passes batches between processes; 256 is the better of its settings. Its calls
  are bounded by that batch alone, so that up to 512 may be under way. It keeps its own buffer of Parquet files.
- curator writes every call to disk too and resumes from that; it counts tokens and costs of each call. Its judging
  begins when all answers are there. Answer and judgement do not overlap.
- data-designer validates the configuration, checks each answer as a column's value, and profiles the columns when it is
  done: it does more for a record than the others. It stores Parquet as it goes. Its profile leaves the tokens uncounted
  where the vocabulary for them cannot be fetched from the web.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from benchmarks.goals import Measured, at_least, not_here
from benchmarks.mock_server import running
from benchmarks.peers.installs import PEERS, ROOT, Peer, TooNoisy, Unmeasured, last_line, python_of
from benchmarks.peers.prompts import CONCURRENCY
from benchmarks.peers.two_calls import package

SMALL, OURS = 8, 8  # the small run is an eighth of the large one; Seedbed's runs are eight times as long
PATIENCE = 1800  # seconds that one run may take
QUIET = {
    "DISTILABEL_LOG_LEVEL": "WARNING",  # at its own level it writes a line for each call
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "NEMO_TELEMETRY_ENABLED": "false",  # data-designer
    "TELEMETRY_ENABLED": "false",  # curator
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class Taken(NamedTuple):
    """What one record more takes, in milliseconds: wall time, and CPU of all of the run's processes."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        """For the round's line."""
        return f"{self.wall:.2f} ms a record ({1e3 / self.wall:,.0f}/s), CPU {self.cpu:.2f} ms"


def run(python: str, driver: str, records: int, found_in: Path | None = None) -> tuple[float, float]:
    """Seconds of wall time and of CPU that a run took, from the process's start to its end. Raises Unmeasured."""
    with tempfile.TemporaryDirectory() as folder, running() as base_url:
        (output := Path(folder) / "output").mkdir()
        command = [python, "-m", f"benchmarks.peers.{driver}", base_url, str(records), str(output)]
        home = {
            "HF_HOME": f"{folder}/hf",
            "DATA_DESIGNER_HOME": f"{folder}/dd",
            "CURATOR_CACHE_DIR": f"{folder}/curator",
        }
        path = {"PYTHONPATH": str(found_in)} if found_in else {}
        cpu, began = _children_cpu(), time.perf_counter()
        said = _said(command, os.environ | QUIET | home | path)
        wall, cpu = time.perf_counter() - began, _children_cpu() - cpu
        with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats") as stats:
            calls = int(orjson.loads(stats.read())["requests"])
    stored = last_line(said)
    if stored != str(records) or calls < 2 * records:
        raise Unmeasured(f"does not do the work: {stored} of {records} records stored, {calls} calls")
    return wall, cpu


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _said(command: list[str], environment: dict[str, str]) -> str:
    """What a command printed. Raises Unmeasured where it fails, or hangs: then all that it started is ended too."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            said, complaint = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as late:
            os.killpg(process.pid, signal.SIGKILL)
            raise Unmeasured(f"a run took more than {PATIENCE} s") from late
    if process.returncode:
        raise Unmeasured(f"does not run: {last_line(complaint)}")
    return said


def marginal(python: str, driver: str, records: int, found_in: Path | None = None) -> Taken:
    """What a record more takes. Raises Unmeasured, also where the noise is larger than the difference."""
    small = records // SMALL
    less, more = (run(python, driver, n, found_in) for n in (small, records))
    wall, cpu = ((many - few) / (records - small) * 1e3 for few, many in zip(less, more, strict=True))
    if wall <= 0:
        raise TooNoisy(f"too noisy here: {records} records took no longer than {small}")
    return Taken(wall, cpu)


@dataclass(slots=True)
class Contest:
    """Seedbed against one peer: the ratios so far, and the last reason why there was none."""

    peer: Peer
    python: str = ""
    reason: str = ""
    ratios: list[float] = field(default_factory=list)

    def prepare(self) -> None:
        """Install the peer."""
        try:
            self.python = python_of(self.peer)
        except Unmeasured as reason:
            self.reason = str(reason)

    def turn(self, ours: Taken, records: int) -> None:
        """The peer's turn, printed."""
        try:
            theirs = marginal(self.python, self.peer.driver, records)
        except Unmeasured as reason:
            self.reason = str(reason)
            print(f"{self.peer.title}: {reason}", flush=True)
            return
        self.ratios.append(theirs.wall / ours.wall)
        cpu = f", CPU {theirs.cpu / ours.cpu:.1f} x" if ours.cpu > 0 else ""
        print(f"{self.peer.title}: {theirs}: {self.ratios[-1]:.1f} x{cpu}", flush=True)

    def line(self) -> Measured:
        """The goal, measured or not."""
        name = f"records a second, generate + judge + store, {CONCURRENCY} at once, against {self.peer.title}"
        if not self.ratios:
            return not_here(name, f"at least {self.peer.goal:g} x", self.reason)
        return at_least(name, self.peer.goal, self.ratios, "x", digits=1)


def goals(records: int = 2000, repeats: int = 5, only: tuple[str, ...] = ()) -> list[Measured]:
    """Seedbed and each peer in turn, `repeats` times; the median ratio of their rates."""
    contests = [Contest(peer) for peer in PEERS if peer.name in only or not only]
    for contest in contests:
        contest.prepare()
    ready = [contest for contest in contests if contest.python]
    with tempfile.TemporaryDirectory() as folder:
        offered = package(Path(folder))
        for _ in range(repeats if ready else 0):
            if ours := _ours(records * OURS, offered, ready):
                for contest in ready:
                    contest.turn(ours, records)
    return [contest.line() for contest in contests]


def _ours(records: int, offered: Path, ready: list[Contest]) -> Taken | None:
    """Seedbed's turn, printed; None where it was too noisy, which ends the round for all."""
    try:
        ours = marginal(sys.executable, "with_seedbed", records, offered)
    except TooNoisy as reason:
        for contest in ready:
            contest.reason = str(reason)
        print(f"Seedbed: {reason}", flush=True)
        return None
    print(f"Seedbed: {ours}", flush=True)
    return ours


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    names = [peer.name for peer in PEERS]
    parser.add_argument("only", nargs="*", choices=[[], *names], help=f"of {', '.join(names)}")
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    for line in goals(flags.records, flags.repeats, tuple(flags.only)):
        print(*line, sep="  ")


if __name__ == "__main__":
    main()
