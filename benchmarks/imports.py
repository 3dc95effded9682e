"""A million chats that somebody has already: taken in, duplicates out, rules, a version, an export; beside `datasets`.

    python -m benchmarks.imports --rows 1000000

The chats are put together from ../shared/data (real requests and real models' answers); odd rows are planted among
them, and each of them must be found. `datasets` does the same with `map`, `filter` and `to_json`, with the very same
checks, in a process of its own; both sides take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from benchmarks.goals import Measured, at_least, at_most
from seedbed.conversation import Content

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
GOAL, MEMORY_GOAL, KEYS_GOAL = 3.0, 1.3, 130_000
ANSWER = 500  # characters of an answer, at most
EVERY = 500  # one odd row of each kind in so many
RECIPE = """\
name: chats
model: smollm2-135m
generate:
  - rows: {from: chats.jsonl, leaf: topic}
curate:
  - exact_duplicates
  - rules
"""
Chat = dict[str, object]


def chats(rows: int) -> Iterator[tuple[Chat | bytes, str]]:
    """So many chats, each with what is odd about it, "" for most."""
    import pyarrow.parquet as pq

    dice = random.Random(0)
    table = pq.read_table(DATA / "alpaca_eval" / "outputs.parquet").to_pylist()
    real = [(row["instruction"], (row["output"] or "")[:ANSWER]) for row in table if row["instruction"]]
    before: tuple[str, str] = ("", "")
    for n in range(rows):
        asked, answer = dice.choice(real)
        asked, odd = f"{asked} (case {n})", ODD[n % EVERY] if n % EVERY < len(ODD) and n >= EVERY else ""
        row: Chat | bytes = chat(asked, answer, n)
        if odd:
            row = PLANTED[odd](*before, n)
        else:
            before = asked, answer
        yield row, odd


def chat(asked: str, answer: str, n: int) -> Chat:
    """One chat, every tenth with a system prompt."""
    system = [{"role": "system", "content": "You are a patient assistant."}] if n % 10 == 0 else []
    turns = [*system, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "topic": f"topic/{n % 20}"}


PLANTED: dict[str, Callable[[str, str, int], Chat | bytes]] = {
    "exact duplicate": lambda asked, answer, n: chat(f"  {asked.upper()}\n", f"{answer}  ", 1),
    "refusal": lambda asked, answer, n: chat(f"Number {n}?", "I'm sorry, but I can't assist with that request.", 1),
    "broken characters": lambda asked, answer, n: chat(f"Number {n}?", f"It is \x07 {n}, as everybody knows.", 1),
    "no answer": lambda asked, answer, n: {"messages": [{"role": "user", "content": f"Number {n}?"}], "topic": "t"},
    "no JSON": lambda asked, answer, n: b'{"messages": [{"role": "user", "content": "cut',
}
ODD = tuple(PLANTED)


def write(folder: Path, rows: int) -> dict[str, int]:
    """The chats as JSON lines; how many of each odd kind there are."""
    planted = dict.fromkeys(ODD, 0)
    with (folder / "chats.jsonl").open("wb") as file:
        for row, odd in chats(rows):
            file.write((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n")
            if odd:
                planted[odd] += 1
    (folder / "recipe.yaml").write_text(RECIPE)
    return planted


def by_seedbed(folder: Path) -> dict[str, object]:
    """The recipe's run and its export, by the command's own functions."""
    import uvloop

    from exporters.formats import Manner, export
    from flows.run import grow, read
    from seedbed.store import Store
    from seedbed.store.versions import version_batches

    home = folder / "home"
    began = time.monotonic()
    outcome = uvloop.run(grow(read(folder / "recipe.yaml"), home))
    grown = time.monotonic()
    store = Store(home)
    written = export(version_batches(store, outcome.version), folder / "out.jsonl", Manner(bare=True)).rows
    seconds = time.monotonic() - began
    reasons = store.rows("SELECT reason, count(*) AS n FROM samples WHERE reason <> '' GROUP BY reason")
    found = {str(row["reason"]): int(str(row["n"])) for row in reasons}
    return {"seconds": seconds, "growing": grown - began, "written": written, "found": found}


def by_datasets(folder: Path) -> dict[str, object]:
    """The same checks by `datasets`: rows that do not fit are left out before, for it stops at the first."""
    from datasets import load_dataset

    from curators.exact_duplicates import keys_of
    from curators.rules import Rules, ruled
    from seedbed.conversation import Response, Turn

    began = time.monotonic()
    clean = folder / "clean.jsonl"
    with (folder / "chats.jsonl").open("rb") as given, clean.open("wb") as kept:
        kept.writelines(line for line in given if line.endswith(b"}\n"))
    options, seen = Rules(), set[int]()

    def judged(row: dict[str, list[dict[str, str]]]) -> dict[str, object]:
        turns = row["messages"]
        if turns[-1]["role"] != "assistant":
            return {"key": 0, "keep": False}
        content = Content.of(
            [Turn(turn["role"], turn["content"]) for turn in turns[:-1]],  # type: ignore[arg-type]  # as written
            [Response(turns[-1]["content"])],
        )
        return {"key": int(keys_of([("instruction", content)], "row")[0]) >> 1, "keep": ruled(content, options).keep}

    def first(row: dict[str, int]) -> bool:
        if not row["keep"] or row["key"] in seen:
            return False
        seen.add(row["key"])
        return True

    rows = load_dataset("json", data_files=str(clean), split="train", cache_dir=str(folder / "cache"))
    kept = rows.map(judged).filter(first).remove_columns(["key", "keep"])
    kept.to_json(folder / "theirs.jsonl")
    return {"seconds": time.monotonic() - began, "written": len(kept)}


SIDES: dict[str, Callable[[Path], dict[str, object]]] = {"seedbed": by_seedbed, "datasets": by_datasets}


def apart(side: str, folder: Path) -> dict[str, object]:
    """One side in a process of its own, with its peak memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.imports", "--side", side, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def once(rows: int, sides: tuple[str, ...] = ("seedbed", "datasets")) -> dict[str, dict[str, object]]:
    """Both sides on the same chats."""
    with tempfile.TemporaryDirectory(prefix="seedbed-imports-") as temporary:
        folder = Path(temporary)
        planted = write(folder, rows)
        found = {side: apart(side, folder) for side in sides}
        return {**found, "planted": dict(planted)}


def goals(rows: int = 1_000_000, repeats: int = 5) -> list[Measured]:
    """Rows a second against `datasets`, the memory of ten times the rows, and the duplicates' step alone."""
    pairs = [once(rows) for _ in range(repeats)]
    ratios = [_float(pair["datasets"]["seconds"]) / _float(pair["seedbed"]["seconds"]) for pair in pairs]
    small = once(rows // 10, ("seedbed",))
    memory = _float(pairs[0]["seedbed"]["peak"]) / _float(small["seedbed"]["peak"])
    return [
        at_least("chats taken in, against datasets", GOAL, ratios, "x"),
        at_most("memory of ten times the rows", MEMORY_GOAL, [memory], "x"),
        at_least("duplicates' step alone", KEYS_GOAL, [keys_a_second() for _ in range(repeats)], "rows/s", 0),
    ]


def keys_a_second(rows: int = 200_000) -> float:
    """Rows a second through the duplicates' step alone: from contents to what is the first of its key."""
    import numpy as np

    from curators.exact_duplicates import Seen, keys_of

    found = [("instruction", _content(row)) for row, odd in chats(rows) if not odd and isinstance(row, dict)]
    seen, began = Seen(np.zeros(0, dtype=np.uint64)), time.monotonic()
    for start in range(0, len(found), 8192):
        seen.new(keys_of(found[start : start + 8192], "row"))
    return len(found) / (time.monotonic() - began)


def _content(row: Chat) -> Content:
    turns = orjson.loads(orjson.dumps(row["messages"]))
    return Content(turns[-2]["content"], turns[-1]["content"])


def _peak() -> float:
    """MiB of this process at its peak, and of as many of its own at theirs as there were at a time."""
    own, theirs = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + theirs * (os.cpu_count() or 1)) / 1024


def _float(value: object) -> float:
    return float(str(value))


def main() -> None:
    """One side where it is named; else both, printed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--side", choices=list(SIDES))
    parser.add_argument("--folder", type=Path)
    flags = parser.parse_args()
    if flags.side:
        found = SIDES[flags.side](flags.folder)
        print(json.dumps({**found, "peak": _peak()}))
        return
    print(json.dumps(once(flags.rows), indent=1))


if __name__ == "__main__":
    main()
