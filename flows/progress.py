"""How far a run is, counted once a row: the numbers only grow. And the alarm that looks at the first batch."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from seedbed.budget import Tally
from seedbed.records import Sample
from seedbed.store.runs import ENGINE_FAILURE

HEARD = 1000  # characters of a failure that are shown
FIRST_ROWS = 16  # the alarm speaks once so many rows were tried, or the first shard is over


@dataclass(frozen=True, slots=True)
class Failure:
    """One answer that came to nothing: where, why, what was said instead, and what to do where that is known."""

    step: str
    why: str
    raw: str
    remedy: str = ""


@dataclass
class Progress:
    """Rows by state, and what the run has spent; read by whoever draws it.

    `unanswered` are the rows, among those that failed in this process, for which no engine had an answer.
    """

    tally: Tally
    wanted: int
    planned: int = 0
    kept: int = 0
    dropped: int = 0
    failed: int = 0
    unanswered: int = 0
    since: float = field(default_factory=time.monotonic)
    notices: list[str] = field(default_factory=list)
    _fresh: int = 0
    _tried: int = 0
    _reasons: Counter[str] = field(default_factory=Counter)
    _failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    _examples: dict[tuple[str, str], Failure] = field(default_factory=dict)
    _silent: set[str] = field(default_factory=set)

    @property
    def done(self) -> int:
        """Rows with an outcome."""
        return self.kept + self.dropped + self.failed

    @property
    def fresh(self) -> int:
        """Rows that got their outcome in this process."""
        return self._fresh

    @property
    def seconds(self) -> float:
        """Since this process began on the run."""
        return time.monotonic() - self.since

    def resume(self, kept: int, dropped: int, failed: int) -> None:
        """Start from what was done before."""
        self.kept, self.dropped, self.failed = kept, dropped, failed

    def outcome(self, sample: Sample) -> None:
        """Count a row that has its final state."""
        self._fresh += 1
        if sample.status == "kept":
            self.kept += 1
        elif sample.status == "failed":
            self.failed += 1
            self.unanswered += sample.reason.startswith(ENGINE_FAILURE)
        else:
            self.dropped += 1
            self._reasons[sample.reason] += 1

    def outcomes(
        self, samples: pa.Table, failures: Counter[tuple[str, str]], examples: Mapping[tuple[str, str], Failure]
    ) -> None:
        """Count many rows that have their final state and were tried, and what went wrong with some of them."""
        self._fresh += samples.num_rows
        self._tried += samples.num_rows
        states = {str(one["values"]): int(one["counts"]) for one in samples["status"].value_counts().to_pylist()}
        self.kept += states.get("kept", 0)
        self.failed += states.get("failed", 0)
        self.dropped += states.get("dropped", 0)
        dropped = samples.filter(pc.equal(samples["status"], "dropped"))
        for one in dropped["reason"].value_counts().to_pylist():
            self._reasons[str(one["values"])] += int(one["counts"])
        self._failures += failures
        for kind, failure in examples.items():
            self._examples.setdefault(kind, failure)

    def failure(self, failure: Failure) -> None:
        """Remember a raw failure, by kind, with the first example of each."""
        kind = (failure.step, failure.why)
        self._failures[kind] += 1
        self._examples.setdefault(kind, failure)

    def tried(self) -> None:
        """Count a row that its generator has come to an end with, well or not."""
        self._tried += 1

    def alarm(self, shard_over: bool = False) -> str:
        """What is wrong with the first batch, each thing once; "" while it is too early to say or all is well.

        Half of the first rows failing is said as soon as `FIRST_ROWS` were tried; under a tenth of them kept, once
        every row of the first shard has its outcome (rows that are dropped early come first).
        """
        failed = sum(self._failures.values())
        if self._tried >= FIRST_ROWS or shard_over:
            if failed * 2 >= self._tried > 0 and self._once("failures"):
                self._silent.add("kept")
                return f"{failed} of the first {self._tried} rows failed. {self.raw_failures()}"
            self._silent.add("failures")
        if shard_over and self._once("kept"):
            kept = self._fresh - sum(self._reasons.values()) - failed
            if self._fresh and kept * 10 < self._fresh:
                reasons = "; ".join(f"{reason} ({n})" for reason, n in self._reasons.most_common(3))
                heard = f" {self.raw_failures()}" if failed else ""
                return f"only {kept} of the first {self._fresh} rows were kept. Commonest reasons: {reasons}.{heard}"
        return ""

    def nothing_answered(self) -> bool:
        """Whether going on would only spend more: no engine answered, or a whole first batch was unreadable."""
        failed = sum(self._failures.values())
        enough = self._tried >= FIRST_ROWS or self.unanswered >= self._tried
        return failed >= self._tried > 0 and enough

    def _once(self, what: str) -> bool:
        if what in self._silent:
            return False
        self._silent.add(what)
        return True

    def raw_failures(self) -> str:
        """The three commonest raw failures, each with an example as the model or server gave it."""
        lines = [_told(n, self._examples[kind]) for kind, n in self._failures.most_common(3)]
        return "The commonest raw failures:" + "".join(lines)


def _told(n: int, failure: Failure) -> str:
    remedy = f"\n      {failure.remedy}" if failure.remedy else ""
    return f"\n  {n} x {failure.step}: {failure.why}\n      e.g. {_short(failure.raw)}{remedy}"


def _short(raw: str) -> str:
    heard = " ".join(raw.split())
    if len(heard) <= HEARD:
        return heard or "(an empty answer)"
    shown = heard[:HEARD].rsplit(" ", 1)[0]
    return f"{shown} … ({len(heard) - len(shown):,} more characters)"


class _Ear(logging.Handler):
    def __init__(self, notices: list[str]) -> None:
        super().__init__(logging.INFO)
        self._notices = notices

    def emit(self, record: logging.LogRecord) -> None:
        self._notices.append(record.getMessage())


@contextmanager
def hearing(progress: Progress) -> Iterator[None]:
    """What the kernel tells of (an engine that is gone, a schema that is ignored) becomes a notice of the run."""
    kernel, ear = logging.getLogger("seedbed"), _Ear(progress.notices)
    before = kernel.level
    kernel.addHandler(ear)
    kernel.setLevel(logging.INFO)
    try:
        yield
    finally:
        kernel.removeHandler(ear)
        kernel.setLevel(before)
