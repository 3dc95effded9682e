"""What a folder of somebody else's can make Seedbed read: what lies in it, and nothing that has no end."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from curators.critique import CritiquePrompts
from curators.decontaminate import Decontaminate
from seedbed.documents import read_documents
from seedbed.engines import EngineError
from seedbed.engines.fingerprint import identify
from seedbed.folders import read_whole
from seedbed.request_file import read_requests
from seedbed.taxonomy import read_taxonomy
from seedbed.vllm_recipe import VllmModel
from seedbed.yamlfile import BadInput

SECRET = "-----BEGIN PRIVATE KEY----- abcdef"
GOOD = "seed_examples:\n  - question: Why?\n    answer: Because.\n"
PROMPT = "[user]\nIs {{ answer }} good?\n"


@pytest.fixture
def place(tmp_path):
    """A recipe's folder beside another folder that is none of its business."""
    for folder in ("own/handbook/more", "own/elsewhere", "outside"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "own/handbook/a.md").write_text("A")
    (tmp_path / "own/handbook/more/b.md").write_text("B")
    (tmp_path / "own/elsewhere/c.md").write_text("C")
    (tmp_path / "outside/key.md").write_text(SECRET)
    return tmp_path / "own"


def refused(read, *given) -> str:
    """The whole message of a refusal, which tells nothing of what is outside."""
    with pytest.raises((BadInput, ValidationError)) as told:
        read(*given)
    assert "PRIVATE" not in str(told.value)
    return str(told.value)


def names(pattern: str, folder: Path) -> list[str]:
    return [document.name for document in read_documents(pattern, folder)]


FILE_LINK = ("handbook/key.md", "../../outside/key.md")
FOLDER_LINK = ("handbook/linked", "../../outside")


@pytest.mark.parametrize(
    ("link", "pattern"),
    [
        *(
            (FILE_LINK, pattern)
            for pattern in ("handbook/*.md", "handbook/**/*.md", "**/*.md", "handbook/key.md", "*/*")
        ),
        *((FILE_LINK, pattern) for pattern in ("{}/handbook/*.md", "../own/handbook/*", "handbook/**", "h*/k*")),
        *((FOLDER_LINK, pattern) for pattern in ("handbook/**/*.md", "**/*.md", "handbook/*/*.md", "handbook/**")),
        *(
            (FOLDER_LINK, pattern)
            for pattern in ("handbook/linked/key.md", "handbook/linked/*", "{}/handbook/*/key.md")
        ),
        (("handbook/more/key.md", "../../elsewhere/c.md"), "handbook/**/*.md"),
        (("handbook/chain.md", "chain2.md"), "handbook/*.md"),
        (("handbook/gone.md", "../../outside/gone.md"), "handbook/*.md"),
        (("docs", "../outside"), "docs/*.md"),
        (("docs", "../outside"), "../own/docs/*.md"),
    ],
)
def test_a_link_out_of_the_folder_is_refused_with_its_target_and_what_to_do(place, link, pattern):
    (place / "handbook/chain2.md").symlink_to(place / "../outside/key.md") if "chain" in link[0] else None
    (place / link[0]).symlink_to(link[1])
    said = refused(read_documents, pattern.format(place), place)
    assert f"/{link[0]}: this is a link" in said or f"/{Path(link[0]).name}: this is a link" in said
    assert os.path.realpath(place / link[0]) in said and "Put a copy there, or name the other folder itself" in said


def test_a_link_that_stays_in_the_folder_is_read_once_by_each_name_that_was_asked_for(place):
    (place / "handbook/again.md").symlink_to("a.md")
    (place / "handbook/back").symlink_to("..", target_is_directory=True)
    (place / "handbook/round").symlink_to("more", target_is_directory=True)
    (place / "handbook/back").unlink()
    assert names("handbook/*.md", place) == ["handbook/a.md", "handbook/again.md"]
    assert names("handbook/**/*.md", place) == ["handbook/a.md", "handbook/again.md", "handbook/more/b.md"]
    assert "handbook/round/b.md" in names("handbook/*/*.md", place)


def test_the_other_folder_itself_may_be_named_wherever_it_is(place):
    (place / "outside").symlink_to("../outside")
    assert [read_documents(p, place)[0].text for p in ("../outside/*.md", f"{place.parent}/outside/*.md")] == [
        SECRET
    ] * 2
    os.link(place.parent / "outside/key.md", place / "handbook/hard.md")
    assert "handbook/hard.md" in names("handbook/*.md", place), "a hard link is the file itself"


@pytest.mark.parametrize("pattern", ["handbook/*/../../../outside/*.md", "**/../../outside/key.md"])
def test_a_pattern_does_not_go_up_behind_a_star(place, pattern):
    assert "is no file pattern (it goes up by .." in refused(read_documents, pattern, place)


def test_names_that_begin_with_a_dot_are_left_out_and_refused_where_they_are_written(place):
    for name in (".ssh", "handbook/.git"):
        (place / name).mkdir()
        (place / name / "key.md").write_text(SECRET)
    (place / "handbook/.env.md").write_text(SECRET)
    assert names("**/*", place) == ["elsewhere/c.md", "handbook/a.md", "handbook/more/b.md"]
    for pattern in (".ssh/*.md", "../own/.ssh/key.md", "handbook/.*", f"{place}/.ssh/*"):
        assert "begins with a dot" in refused(read_documents, pattern, place)
    said = refused(CritiquePrompts.model_validate, {"critique": f"{place}/.ssh/key.md"})
    assert "begins with a dot" in said


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 3 << 30)


@pytest.mark.parametrize(
    ("make", "said"),
    [(pipe, "plain file"), (listener, ""), (endless, "/dev/zero"), (huge, "larger than")],
    ids=["pipe", "socket", "device", "huge"],
)
def test_what_never_ends_is_told_and_not_waited_for(place, make, said):
    make(place / "handbook/x.md")
    for pattern in ("handbook/*.md", "handbook/x.md"):
        found = refused(read_documents, pattern, place)
        assert str(place / "handbook/x.md") in found and said in found
    (place / "tax/leaf").mkdir(parents=True)
    (place / "tax/leaf/qna.yaml").write_text(f"documents: [x.md]\n{GOOD}")
    make(place / "tax/leaf/x.md")
    assert said in refused(read_taxonomy, place / "tax")
    (place / "tax/leaf/qna.yaml").unlink()
    make(place / "tax/leaf/qna.yaml")
    assert str(place / "tax/leaf/qna.yaml") in refused(read_taxonomy, place / "tax")
    make(place / "asked.jsonl")
    assert str(place / "asked.jsonl") in refused(read_requests, place / "asked.jsonl")
    make(place / "p.j2")
    assert "p.j2" in refused(CritiquePrompts.model_validate, {"critique": str(place / "p.j2")})
    make(place / "bench.jsonl")
    assert "bench.jsonl" in refused(Decontaminate.model_validate, {"against": [str(place / "bench.jsonl")]})
    with pytest.raises((BadInput, OSError)):
        read_whole(place / "p.j2", 100)


def test_a_model_folder_with_a_pipe_in_it_is_told(tmp_path):
    pipe(tmp_path / "config.json")
    with pytest.raises(EngineError, match=r"config\.json is no plain file"):
        identify("transformers", str(tmp_path), "", "")


def test_every_file_that_a_recipe_names_is_held_to_its_folder(place):
    (place / "asked.jsonl").symlink_to("../outside/key.md")
    assert "outside/key.md" in refused(read_requests, place / "asked.jsonl")
    (place / "p.j2").symlink_to("../outside/key.md")
    for name in ("p.j2", f"{place}/p.j2", "../own/p.j2", "handbook/../p.j2"):
        said = refused(lambda name=name: CritiquePrompts.model_validate({"critique": name}, context={"folder": place}))
        assert "outside/key.md" in said and "Put a copy there" in said
    (place / "bench.txt").symlink_to("../outside/key.md")
    for name in ("bench.txt", "*.txt", f"{place}/*.txt"):
        said = refused(lambda name=name: Decontaminate.model_validate({"against": [name]}, context={"folder": place}))
        assert "outside/key.md" in said and "Put a copy there" in said
    (place / "adapter").mkdir()
    (place / "adapter/adapter_config.json").write_text('{"r": 8}')
    (place / "adapter/adapter_model.safetensors").symlink_to("../../outside/key.md")
    said = refused(lambda: VllmModel.model_validate({"model": "m", "adapter": "adapter"}, context={"folder": place}))
    assert "outside/key.md" in said and "Put a copy there" in said


def test_a_prompt_may_lie_in_another_folder_that_the_recipe_names(place):
    (place.parent / "outside/p.j2").write_bytes(b"\xef\xbb\xbf" + PROMPT.replace("\n", "\r\n").encode())
    for name in ("../outside/p.j2", f"{place.parent}/outside/p.j2"):
        assert CritiquePrompts.model_validate({"critique": name}, context={"folder": place}).critique == PROMPT
    said = refused(lambda: CritiquePrompts.model_validate({"critique": "../outside/key.md"}, context={"folder": place}))
    assert "has no line [system], [user] or [assistant]" in said


def test_folders_may_be_nested_however_deep(place):
    deep = place / "handbook"
    folders = [deep := deep / "d" for _ in range(1100)]
    for folder in folders:
        folder.mkdir()
    try:
        (deep / "z.md").write_text("Z")
        assert len(names("handbook/**/*.md", place)) == 3
        (deep / "qna.yaml").write_text(GOOD)
        assert [leaf.path.count("/d") for leaf in read_taxonomy(place)] == [1100]
    finally:
        for name in ("z.md", "qna.yaml"):
            (deep / name).unlink(missing_ok=True)
        for folder in reversed(folders):
            folder.rmdir()


def test_a_folder_that_cannot_be_read_is_told_and_not_left_out(place):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (place / "handbook/more").chmod(0)
    try:
        assert "cannot be read (Permission denied)" in refused(read_documents, "**/*.md", place)
    finally:
        (place / "handbook/more").chmod(0o755)


def test_a_recipe_with_a_link_is_refused_before_anything_starts(place):
    from flows.run import read

    (place / "handbook/key.md").symlink_to("../../outside/key.md")
    recipe = {"name": "r", "model": "smollm2-135m", "generate": [{"knowledge": {"documents": "handbook/*.md"}}]}
    (place / "recipe.yaml").write_text(json.dumps(recipe))
    assert "outside/key.md" in refused(read, place / "recipe.yaml")
