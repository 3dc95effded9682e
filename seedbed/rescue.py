"""A damaged store is saved: what can be read of it goes into a new one, and the old file stays beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from seedbed import private
from seedbed.errors import InputError
from seedbed.journal import at_work
from seedbed.store import Store, StoreError
from seedbed.store.aftermath import Aftermath, put_right
from seedbed.store.damage import Damage, examine, log_of
from seedbed.store.salvage import Copied, Salvage, salvage
from seedbed.store.store import FILE
from seedbed.store.turnstile import Turnstile
from seedbed.taking_in import take_in


@dataclass(frozen=True, slots=True)
class Rescued:
    """What came of a rescue. `means` is how the file was opened, None where nothing opened it."""

    damage: Damage
    means: str | None
    tables: Sequence[Copied]
    aftermath: Aftermath
    old: Path
    taken_in: int


def rescue(home: Path) -> Rescued:
    """Copy everything that can be read of a damaged store into a new one, which takes its place.

    Raises:
        InputError: nothing is wrong with the store, or there is none.
        StoreError: a run is at work, or the folder cannot be written.
    """
    path = home / FILE
    if not path.exists():
        raise InputError(f"there is no store in {home}")
    try:
        turnstile = Turnstile(home)
        with turnstile.exclusive():
            _nobody_at_work(home)
            damage = examine(path)
            if damage is None:
                raise InputError(f"nothing is wrong with {path}: every row of it can be read")
            with tempfile.TemporaryDirectory(prefix=".rescue-", dir=home) as folder:
                found, aftermath = _made(path, Path(folder))
                old = _exchange(path, Path(folder) / "new" / FILE)
        turnstile.close()
    except (OSError, duckdb.Error) as error:
        raise StoreError(f"could not write in {home}: {error}. Make room or rights for it and do this again") from error
    store = Store(home)
    taken_in = take_in(store, "")
    store.close()
    return Rescued(damage, found.means, found.tables, aftermath, old, taken_in)


def _nobody_at_work(home: Path) -> None:
    for lock in (home / "journal").glob("*.lock"):
        if at_work(home, lock.stem):
            raise StoreError(f"run {lock.stem} is at work in {home}: let it end, or end it, and do this again")


def _made(path: Path, folder: Path) -> tuple[Salvage, Aftermath]:
    """The new store, whole and up to date, in a folder of its own."""
    new = private.folder(folder / "new")
    found = salvage(path, new / FILE, folder)
    store = Store(new)
    lost = {copied.table for copied in found.tables if copied.lost != 0}
    aftermath = put_right(store, lost)
    store.close()
    return found, aftermath


def _exchange(path: Path, new: Path) -> Path:
    """Put the new file in the place of the old, which is kept under the name that is returned, with its log."""
    old, n = path.with_name(f"{FILE}.damaged"), 1
    while old.exists():
        n += 1
        old = path.with_name(f"{FILE}.damaged-{n}")
    old.hardlink_to(path)  # at no moment is there no store
    if log_of(path).exists():
        log_of(path).replace(log_of(old))
    new.replace(path)
    return old
