"""A terminal is shown what others wrote, and obeys none of it: every command, on a real terminal and into a pipe."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.screen import Screen
from flows.tables import Column, show_table
from flows.terminal import make_ready
from tests.attacks import hostile
from tests.attacks.hostile import EVIL, OBEYED
from tests.ptys import ROOT, in_one_process, on_terminal
from tests.test_run import SEEDBED, seedbed

SAMPLE = f"{1:020d}"
OURS = re.compile("\x1b\\[[0-9;]*m|\x1b\\[(2K|1A|\\?25[lh])|\r")  # styles, and how a bar is drawn again


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("hostile") / "home"
    hostile.store(home).close()
    return home


def recipe(folder: Path, base_url: str) -> Path:
    """A recipe whose one leaf lies in folders with names that would be markup."""
    place = folder / "tax" / "compositional_skills" / "[draft]" / "[/b] tags [bold]x[/bold]"
    place.mkdir(parents=True)
    examples = [{"question": f"{EVIL} {n}", "answer": EVIL} for n in range(3)]
    place.joinpath("qna.yaml").write_text(
        yaml.safe_dump({"created_by": "me", "task_description": EVIL, "seed_examples": examples})
    )
    path = folder / "recipe.yaml"
    model = {"engine": "http", "base_url": base_url, "model": EVIL, "retries": 0, "timeout": 10}
    told = {"name": "evil", "model": model, "taxonomy": "tax", "generate": [{"skills": {"per_leaf": 2}}]}
    path.write_text(yaml.safe_dump({**told, "curate": ["exact_duplicates", "critique"]}))
    return path


def commands(folder: Path) -> list[list[object]]:
    broken = folder / f"{EVIL.replace('/', ' ')}.yaml"
    broken.write_text("name: [")
    column = EVIL.replace('"', "")
    return [
        ["status"],
        ["status", "run1"],
        ["why", SAMPLE],
        ["why", f"{2:020d}", "--full"],
        ["why", EVIL],
        ["sql", "SELECT * FROM samples"],
        ["sql", f'SELECT leaf AS "{column}" FROM samples'],
        ["sql", "SELECT [question] AS l, {'a': answer} AS s FROM samples"],
        ["sql", "SELECT question FROM samples", "--csv"],
        ["sql", f'SELECT question AS "{column}" FROM samples', "--json"],
        ["sql", f"SELECT {column}"],
        ["versions"],
        ["versions", "--json"],
        ["refilter", "desk", "critique=4.3"],
        ["diff", "desk-v1", "desk-v2"],
        ["export", "desk-v1", folder / f"{EVIL.replace('/', ' ')}.jsonl"],
        ["export", EVIL, folder / "x.jsonl"],
        ["push", "desk-v1", "--out", folder / "tree"],
        ["train", "desk-v1", "--model", EVIL],
        ["run", broken],
        ["doctor", broken],
    ]


def test_no_command_sends_a_terminal_what_a_store_holds(home, tmp_path):
    shown = on_terminal(*commands(tmp_path), home=home, HF_HUB_OFFLINE="1")
    assert not OBEYED.search(shown), OBEYED.findall(shown)
    assert shown.count("exit ") >= len(commands(tmp_path)) and "Traceback" not in shown
    for seen in (r"\x1b[2J", r"\x1b]52;c;", r"\x9b31m", r"\x0dwritten", r"\x08", r"\u202egnp", r"\u200b", "[/b]"):
        assert seen in shown, seen
    assert ":smile:" in shown and "\N{SNOWMAN}" in shown, "what is harmless stays as it is"


def test_no_command_sends_a_pipe_what_a_store_holds_but_csv(home, tmp_path):
    light = [asked for asked in commands(tmp_path) if asked[0] not in ("push", "doctor") and "--csv" not in asked]
    out, err = in_one_process(*light, home=home)
    assert not OBEYED.search(out) and not OBEYED.search(err)
    assert r"\x1b[2J" in out and r"\x1b[2J" in err and out.count("exit ") >= len(light)


def test_escapes_are_written_before_a_row_is_laid_out():
    screen = Screen()
    screen.file, screen.width = io.StringIO(), 60
    screen.print("over\rwritten back\x08 :smile: [b]")
    show_table(screen, [Column("leaf", "name"), Column("made", "number")], [["a\x1b[2Jb\nc", "7"], ["plain", "12"]])
    first, *table = screen.file.getvalue().splitlines()
    assert first == r"over\x0dwritten back\x08 :smile: [b]"
    assert [line.rstrip() for line in table] == ["leaf          made", r"a\x1b[2Jb\nc     7", "plain           12"]


def test_a_run_and_a_preview_on_hostile_answers_send_none_of_them(tmp_path):
    with hostile.server() as base_url:
        path = recipe(tmp_path, base_url)
        every: list[list[object]] = [["preview", path], ["run", path], ["ablate", "debate", path, "--rows", "2"]]
        shown = on_terminal(*every, home=tmp_path / "home")
    assert not OBEYED.search(shown), OBEYED.findall(shown)
    assert "Traceback" not in shown and r"\x1b[2J" in shown and shown.count("exit 0") == 3, shown[-3000:]


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_a_servers_refusal_is_shown_whole_and_not_obeyed(tmp_path, term):
    with hostile.server(refuses=True) as base_url:
        path = recipe(tmp_path, base_url)
        shown = on_terminal(["run", path], ["status"], home=tmp_path / "home", TERM=term)
    plain = OURS.sub("", shown)
    assert not OBEYED.search(plain), OBEYED.findall(plain)
    assert "Traceback" not in plain and r"\x1b[2J" in plain and "exit 1" in plain
    assert (plain != shown) == (term != "dumb"), "a terminal that can shows colours and a bar"


def test_a_name_in_brackets_is_no_markup(tmp_path):
    with hostile.server() as base_url:
        path = recipe(tmp_path, base_url)
        shown = on_terminal(["preview", path], ["run", path], home=tmp_path / "home", columns=200)
    assert shown.count("exit 0") == 2 and shown.count("[draft]/[/b] tags [bold]x[/bold]") >= 3, "headings and the table"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_is_not_utf_8_shows_escapes_and_no_traceback(home, encoding):
    asked = (["status"], ["why", SAMPLE], ["sql", "SELECT '中 é' AS c"], ["sql", "SELECT '中 é' AS c", "--json"])
    shown = on_terminal(*asked, home=home, PYTHONIOENCODING=encoding)
    assert "Traceback" not in shown and shown.count("exit 0") == 4
    assert r"\u4e2d" in shown and '"c": "\\u4e2d' in shown


def test_the_locale_c_without_any_coercion_crashes_nothing(home, tmp_path):
    bare = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = seedbed("sql", "SELECT '中' AS c", home=home, **bare)
    assert done.returncode == 0 and r"\u4e2d" in done.stdout and not done.stderr
    done = seedbed("export", "中", tmp_path / "x.jsonl", home=home, **bare)
    assert done.returncode == 2 and "Traceback" not in done.stderr and r"\u4e2d" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["sql", "SELECT * FROM samples"], ["sql", "SELECT * FROM samples", "--csv"], ["schema"]]
)
def test_a_reader_that_goes_away_ends_a_command_quietly(home, arguments):
    shell = f'{sys.executable} -c "from flows.cli import main; main()" "$@" | true'
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "SEEDBED_HOME": str(home)}
    done = subprocess.run(["bash", "-c", shell, "x", *arguments], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(("closed", "asked", "code"), [(1, ["status"], 0), (2, ["why", "ffff"], 2)])
def test_a_stream_that_is_closed_is_no_bug(home, closed, asked, code):
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "SEEDBED_HOME": str(home)}
    command = ["bash", "-c", f'exec {closed}>&-; exec "$@"', "x", *SEEDBED, *asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_bug_is_told_with_its_traceback_and_without_power(tmp_path):
    bug = f"def bug(): raise KeyError(1) from RuntimeError({EVIL!r})"
    code = f"import flows.cli as cli\n{bug}\ncli.app.command()(bug)\ncli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "bug"], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 1 and "KeyError: 1" in done.stderr and not OBEYED.search(done.stderr)


def test_what_is_logged_has_no_power_either():
    before, heard, logger = logging.getLogRecordFactory(), io.StringIO(), logging.getLogger("prefect.of.a.test")
    logger.addHandler(logging.StreamHandler(heard))
    try:
        make_ready()
        try:
            raise ValueError(EVIL)
        except ValueError as error:
            logger.exception("server said %s: %s", EVIL, error)
    finally:
        logging.setLogRecordFactory(before)
    said = heard.getvalue()
    assert r"server said clear\x1b[2J" in said and "ValueError: clear" in said and not OBEYED.search(said)


def test_every_line_that_a_command_prints_goes_through_the_screen():
    raw = re.compile(
        r"typer\.echo\(|(?<![.\w])print\(|sys\.std(out|err)\.(write|buffer)|\bConsole\(|rich\.markup|markup=True"
    )
    found = [
        f"{path.name}:{n}"
        for path in sorted((ROOT / "flows").glob("*.py"))
        if path.name not in ("terminal.py", "screen.py")
        for n, line in enumerate(path.read_text().splitlines(), start=1)
        if raw.search(line)
    ]
    assert found == []
