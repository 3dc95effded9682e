"""A store that an older commit grew, opened by this one: `why` says the same, and the same rows are exported.

    python -m benchmarks.older 0fb38b7

The older code is checked out beside this one and grows a recipe with pairs, revisions and reviews on the scripted
server. Then both tell what they know of every sample, and export it; tables are compared with the migration's backup.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import yaml

from benchmarks.mock_server import running
from seedbed.store.choice import METHOD

ROOT = Path(__file__).resolve().parent.parent
FORMS = {"messages": "instruction", "preference": "preference"}
TEXTS = "question, answer, context, rejected, text_hash"
TABLES = ("runs", "targets", "shards", "verdicts", "calls", "reviews", "versions", "version_rows")


def seedbed(code: Path, home: Path, *arguments: str) -> str:
    """What a command of some commit's code prints."""
    environment = {**os.environ, "PYTHONPATH": str(code), "SEEDBED_HOME": str(home)}
    command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
    done = subprocess.run(command, env=environment, cwd=code, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


def recipe(folder: Path, base_url: str) -> Path:
    """Skills with revisions, knowledge and pairs."""
    told = {
        "name": "older",
        "model": {"engine": "http", "base_url": base_url, "model": "mock"},
        "taxonomy": str(ROOT / "taxonomies" / "starter"),
        "generate": [{"skills": {"per_leaf": 6}}, {"knowledge": {"per_leaf": 4}}, {"preferences": {"per_leaf": 3}}],
        "curate": ["exact_duplicates", "rules", {"critique": {"keep_at": 3.5, "revise_below": 5}}],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


def told(code: Path, home: Path, ids: list[str]) -> list[object]:
    """What `why` says of each sample."""
    return [json.loads(seedbed(code, home, "why", sample, "--json")) for sample in ids]


def exported(code: Path, home: Path, form: str, *more: str) -> list[dict[str, object]]:
    """The rows of the version, in a form."""
    path = home / f"{form}.jsonl"
    seedbed(code, home, "export", "older", str(path), "--form", form, *more)
    return [json.loads(line) for line in path.read_text().splitlines()]


def within(old: object, new: object) -> bool:
    """Whether all that was said is still said; more may be."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and within(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(within, old, new))
    return old == new


def same_tables(home: Path) -> list[str]:
    """Tables of which the migration changed what was in them."""
    [backup] = home.glob("seedbed.duckdb.v*-backup")
    changed = []
    with duckdb.connect() as db:
        db.execute(f"ATTACH '{backup}' AS old (READ_ONLY); ATTACH '{home / 'seedbed.duckdb'}' AS new (READ_ONLY)")
        for table in TABLES:
            columns = db.execute(f"SELECT * FROM old.base.{table} LIMIT 0").description or []
            names = ", ".join(f'"{name}"' for name, *_ in columns)
            query = f"(SELECT {names} FROM old.base.{table} EXCEPT ALL SELECT {names} FROM new.base.{table})"
            [(gone,)] = db.execute(f"SELECT count(*) FROM {query}").fetchall()
            changed += [table] if gone else []
        known = [name for name, *_ in db.execute("SELECT * FROM old.base.samples LIMIT 0").description or []]
        method = METHOD if "derived" in known else "method"  # before, it was part of the method's name
        [(n,)] = db.execute(
            f"SELECT count(*) FROM (SELECT {method}, {TEXTS} FROM old.base.samples s "
            f"EXCEPT ALL SELECT method, {TEXTS} FROM new.samples)"
        ).fetchall()
        return changed + (["samples"] if n else [])


def compare(commit: str) -> list[str]:
    """What is not as it was; nothing, if all is well."""
    found = []
    with tempfile.TemporaryDirectory(prefix="seedbed-older-") as temporary, running() as base_url:
        folder, home = Path(temporary), Path(temporary) / "home"
        old = folder / "old"
        subprocess.run(["git", "worktree", "add", "--detach", str(old), commit], cwd=ROOT, check=True)
        try:
            seedbed(old, home, "run", str(recipe(folder, base_url)))
            ids = [row["sample_id"] for row in json.loads(seedbed(old, home, "sql", SAMPLES, "--json"))]
            lives = told(old, home, ids)
            bare = ("--bare", "--split", "all")  # options that the older code may not have: it wrote nothing else then
            of_old = bare if "--bare" in seedbed(old, home, "export", "--help") else ()
            rows = {form: exported(old, home, form, *of_old) for form in FORMS}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(old)], cwd=ROOT, check=True)
        found += [f"why {one}" for one, a, b in zip(ids, lives, told(ROOT, home, ids), strict=True) if not within(a, b)]
        for form, before in rows.items():
            if exported(ROOT, home, form, *bare) != before:
                found.append(f"export --form {form}")
        found += [f"table {table}" for table in same_tables(home)]
        print(f"{len(ids)} samples, {', '.join(f'{len(one)} rows of {form}' for form, one in rows.items())}")
    return found


SAMPLES = "SELECT sample_id FROM samples USING SAMPLE reservoir(30 ROWS) REPEATABLE (1) ORDER BY sample_id"


def main() -> None:
    """Compare, print, and exit 1 where anything is not as it was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("commit", help="the commit whose store is opened")
    changed = compare(parser.parse_args().commit)
    print("\n".join(changed) or "all as it was")
    raise SystemExit(bool(changed))


if __name__ == "__main__":
    main()
