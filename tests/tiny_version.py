"""Versions that a tiny model can learn from, put into a store by the store's own functions; and quick options."""

from __future__ import annotations

from pathlib import Path

import yaml

from seedbed.records import Content, Sample
from seedbed.store import Store
from seedbed.store.reviews import Event, record
from seedbed.store.rows import Judged, add_tables, judged_tables
from seedbed.store.runs import begin, end
from seedbed.store.versions import freeze, refilter
from tests.tiny_model import BAD, GOOD, text

EPOCHS, BATCH = 10, 16
FAST = {
    "epochs": EPOCHS,
    "batch_size": BATCH,
    "learning_rate": 1e-2,
    "max_length": 40,
    "held_out": 0.2,
    "licence": "MIT",
}


def grown(home: Path, contents: list[tuple[str, Content]], name: str = "toy") -> str:
    """A version of samples (kind and content) over four leaves, as a run would have left them."""
    store, run_id = Store(home), f"run-{name}"
    targets = [("hand", f"leaf{n}", len(contents), "") for n in range(4)]
    begin(store, run_id, name, '{"curate": []}', {}, targets)
    judged = [
        Judged(
            n,
            Sample(
                sample_id=f"{name}-{n}",
                kind=kind,
                method="hand",
                leaf=f"leaf{n % 4}",
                ordinal=n,
                attempt=0,
                content=content,
                status="kept",
            ),
            (),
        )
        for n, (kind, content) in enumerate(contents)
    ]
    with store.writing() as db:
        add_tables(db, judged_tables(run_id, judged))
    end(store, run_id, "done", "", 1.0, 0)
    return freeze(store, run_id, [(run_id, method, leaf) for method, leaf, *_ in targets]).version


def pair(n: int, asked: str = "w0") -> Content:
    """A rule to learn: a good word is preferred to a bad one, whatever stands beside it. Sixty prompts an `asked`."""
    answers = [f"{text(n + shift, n=2)} {words[n % 3]}" for shift, words in ((3, GOOD), (5, BAD))]
    return Content(question=f"{asked} {text(n)}", answer=answers[0], rejected=answers[1])


def preferences(home: Path) -> str:
    """Eighty good pairs, and seven rows that no DPO should see."""
    long = text(1, n=45)
    bad: list[tuple[str, Content]] = [
        ("preference", Content(question="w1 w2", answer=long, rejected="w1")),
        ("instruction", Content(question="w3 w4", answer="w5")),
        *[("preference", Content(question=f"w7 w{n}", answer="w5 w6", rejected="w9")) for n in range(5)],
    ]
    version = grown(home, [("preference", pair(n)) for n in range(80)] + bad)
    store = Store(home)
    poor = dict(zip(range(82, 87), ["w5 w6", "w5  w6 ", "", "", "w5 w6"], strict=True))
    return spoilt(store, version, poor)


def spoilt(store: Store, version: str, rejected: dict[int, str]) -> str:
    """The next version, with these rejected answers in it: none is made so, but an older or a mended file may be."""
    for n in rejected:
        record(store, "anna", Event("run-toy", f"toy-{n}", "edit", edit={"rejected": "w8"}))
    version = refilter(store, version, {}).version
    with store.writing() as db:
        for n, text in rejected.items():
            new = [f'{{"rejected": "{text}"}}', version, f"toy-{n}"]
            db.execute("UPDATE base.version_rows SET content = ? WHERE version = ? AND sample_id = ?", new)
    return version


def options(folder: Path, **more: object) -> Path:
    path = folder / "options.yaml"
    path.write_text(yaml.safe_dump({**FAST, "model": str(folder / "model"), **more}))
    return path
