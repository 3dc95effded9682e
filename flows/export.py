"""Writing what is kept to files: of a version, or of a run that has not ended what it has kept so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pyarrow as pa

from exporters.formats import Manner, NoneHeldOut, NoRows, Sides, Written, beside, forms_of, without_keys
from exporters.formats import export as write
from flows.keys import keys_in_use
from seedbed.errors import InputError
from seedbed.kinds import KINDS
from seedbed.store import Store
from seedbed.store.provenance import running_batches, traced_batches
from seedbed.store.runs import find_run
from seedbed.store.selection import Only, Traits, least_share, traits_of
from seedbed.store.versions import find_version, version_batches

_ALL = Only()


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be written and how. `form` is the usual one of what there is if it is left out.

    `sides`: train rows with the held-out ones in a file beside (`apart`), one side only, or `all` in one file.
    `held_out` is a share from 0 to 1; `bare` leaves out where rows are from, `passages=False` the texts asked about.
    """

    form: str = ""
    sides: Sides = "apart"
    only: Only = _ALL
    held_out: float = 0.1
    bare: bool = False
    reasoning: bool = False
    passages: bool = True


_USUAL = Asked()


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is: its name, its rows, the traits of each kind, and the least share that holds one of them out."""

    what: str
    note: str
    batches: Iterator[pa.Table]
    traits: Mapping[str, Traits]
    least: Callable[[], float]


def export(store: Store, name: str, path: Path, asked: Asked) -> str:
    """Write a version, or a run's kept rows, to `path` and say what is where and what is not.

    Raises:
        InputError: there is no such version, nothing to write, or no way to write it; the message says what to do.
    """
    if asked.sides not in get_args(Sides):
        raise InputError(f"no side of the split is called {asked.sides!r}: it is one of {', '.join(get_args(Sides))}")
    if not 0 <= asked.held_out <= 1:
        raise InputError(f"a share of {asked.held_out} cannot be held out: give a number from 0 to 1")
    kept = kept_of(store, name, asked)
    form = asked.form or next(iter(forms_of(kept.traits, path.suffix)), "messages")
    traits = Traits.of(one for kind, one in kept.traits.items() if form in KINDS[kind].forms)
    manner = Manner(form, asked.bare, asked.reasoning, asked.passages, traits)
    try:
        written = write(without_keys(kept.batches, keys_in_use(store)), path, manner, asked.sides)
    except NoneHeldOut as error:
        raise InputError(f"{error}{_least(kept)}") from error
    except NoRows as error:
        raise InputError(str(error) if asked.only == _ALL else _none(kept, asked.only)) from error
    except ValueError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}. Name a file in a folder that is there, has room, and that you may "
            "write in"
        ) from error
    return "; ".join((f"{written.rows:,} rows of {kept.what} in {path}{kept.note}", *_told(kept, written, path, asked)))


def _told(kept: Kept, written: Written, path: Path, asked: Asked) -> Iterator[str]:
    """Where the held-out rows are, and what is in neither file."""
    if asked.sides == "apart" and written.held_out:
        yield f"{written.held_out:,} held-out rows in {beside(path)}"
    elif asked.sides == "apart" and asked.held_out:
        old = f", and {beside(path)} is of an earlier export" if beside(path).exists() else ""
        yield f"no row is held out{_least(kept)}{old}"
    elif asked.sides == "train":
        yield f"{written.held_out:,} held-out rows are left out"
    yield from written.told()


def _none(kept: Kept, only: Only) -> str:
    asked = [f"in leaf {only.leaf}"] if only.leaf else []
    asked += [f"such that {only.where}"] if only.where else []
    return (
        f'nothing to export: {kept.what} holds no row {" and ".join(asked)}. `seedbed sql "SELECT leaf, count(*) FROM '
        f"version_samples WHERE version = '{kept.what}' AND kept GROUP BY leaf\"` lists its leaves"
    )


def _least(kept: Kept) -> str:
    return f": --held-out {kept.least():g} is the least that holds one out"


def kept_of(store: Store, name: str, asked: Asked = _USUAL) -> Kept:
    """The samples of a version, or of the latest one of a recipe or run; those kept so far where there is none."""
    run_id = _run_or_none(store, name)
    running = run_id and store.rows(
        "SELECT status FROM runs WHERE run_id = ? AND run_id NOT IN (SELECT run_id FROM versions)", [run_id]
    )
    if running:
        if asked.only != _ALL:
            raise InputError(f"run {run_id} has no version yet: --leaf and --where are for the rows of a version")
        note = f" (the run is {running[0]['status']}: this is what it has kept so far)"
        batches = running_batches(store, run_id, asked.held_out)
        return Kept(f"run {run_id}", note, batches, traits_of(store, run_id=run_id), lambda: 1.0)
    version = find_version(store, name)
    read = version_batches(store, version, held_out=asked.held_out, only=asked.only)
    batches = read if asked.bare else traced_batches(store, version, asked.held_out, asked.only)
    return Kept(version, "", batches, traits_of(store, version), lambda: least_share(store, version))


def _run_or_none(store: Store, name: str) -> str:
    """The run that is named, whole or by its beginning, or by its recipe; "" where that is a version."""
    known = "SELECT 1 FROM base.runs WHERE $name IN (run_id, recipe)"
    named = f"version = $name OR (starts_with(version, $name) AND NOT EXISTS ({known}))"
    return (
        "" if store.rows(f"SELECT 1 AS one FROM base.versions WHERE {named}", {"name": name}) else find_run(store, name)
    )
