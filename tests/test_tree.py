"""The built tree: loads as exactly the version's rows, the same bytes each time, whole or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from exporters.forms import row_of
from exporters.inspection import inspect
from exporters.tree import appearing, config_of, write_data
from exporters.trl_rows import read_by_trl
from flows.publication import Publication
from flows.publish import build
from seedbed.conversation import Content, Response, Turn
from seedbed.conversation_json import content_of
from seedbed.errors import InputError
from seedbed.records import Sample
from seedbed.store.provenance import published_batches
from seedbed.store.reviews import Event, record
from seedbed.store.versions import refilter, version_batches
from tests.grown import PASSED, Row, pairs, rows, sample, scored, stored
from tests.test_forms_out import CALLED, LONG

TURNS = [{"role": "user", "content": "Question?"}, {"role": "assistant", "content": "Answer."}]
GOOD = (PASSED, scored(4.5))
TERMS = Publication(license="cc-by-4.0", model_licences={"other-3b": "mit"})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Sixty samples and twenty pairs."""
    return stored(tmp_path_factory.mktemp("store") / "home", [*rows(60), *pairs(60, 20)])


def load(folder: Path, config: str, cache: Path):
    import datasets

    return datasets.load_dataset(str(folder), config, cache_dir=str(cache))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def batch(made: list[Sample], **columns: object) -> pa.Table:
    plain = {"run_id": "run1", "split": "train", "scores": [], "review": "none", **columns}
    names = ("sample_id", "leaf", "method", "kind", "model")
    return pa.Table.from_pylist(
        [
            {
                **{name: getattr(one, name) for name in names},
                **{name: getattr(one.content, name) for name in ("question", "answer", "context", "rejected")},
                **plain,
            }
            for one in made
        ]
    )


@pytest.mark.parametrize("form", ["messages", "prompt-completion"])
def test_datasets_loads_exactly_the_versions_rows_in_every_config_and_split(store, tmp_path, form):
    built = build(store, "desk", tmp_path / "tree", TERMS.model_copy(update={"form": form}))
    assert built.problems == () and built.version == "desk-v1"
    [table] = version_batches(store, "desk-v1", 1000)
    for config in (form, "preference"):
        loaded = load(tmp_path / "tree", config, tmp_path / "cache")
        for split in ("train", "test"):
            mine = [row for row in table.to_pylist() if row["split"] == split]
            wanted = [row_of(content_of(row), config) for row in mine if config_of(row["kind"], form) == config]
            assert loaded[split].to_list() == wanted and wanted
            told = [file.rows for file in built.files if file.path.startswith(f"data/{config}/{split}-")]
            assert told == [loaded[split].num_rows]


def test_conversations_with_tools_and_every_kind_go_to_a_config_of_their_own_and_are_told_truly(tmp_path):
    dialogues = [LONG, CALLED, LONG, CALLED]
    made: list[Row] = [(sample(n, kind="dialogue").model_copy(update={"content": one.alone()}), GOOD)
            for n, one in enumerate(dialogues)]  # fmt: skip
    made += [(sample(9, kind="labelled").model_copy(update={"content": LONG.alone()}), GOOD)]
    made += [(sample(10, kind="correction", rejected="Better."), GOOD), *pairs(20, 2), (sample(30), GOOD)]
    store = stored(tmp_path / "home", made)
    built = build(store, "desk", tmp_path / "tree", TERMS.model_copy(update={"held_out": 0}))
    assert built.problems == ()
    loaded = {name: load(tmp_path / "tree", name, tmp_path / "cache")["train"]
              for name in ("messages", "kto", "correction", "preference")}  # fmt: skip
    assert [row["messages"] for row in loaded["messages"]][:4] == [row_of(one.alone(), "messages")["messages"]
                                                                   for one in dialogues]  # fmt: skip
    assert loaded["messages"][1]["tools"] == list(CALLED.tools) and loaded["messages"][0]["tools"] is None
    assert loaded["kto"][0] == row_of(LONG.alone(), "kto") and loaded["correction"][0]["corrected"] == "Better."
    assert set(loaded["preference"].column_names) == {"prompt", "chosen", "rejected"}, "no tools where no row has any"
    told = "Of the rows of `messages`, 4 have several turns or a system prompt and 2 have tools, offered (`tools`)"
    assert told in built.card and "chats of one turn" not in built.card


def test_a_row_that_its_form_cannot_hold_is_named_and_nothing_is_built(tmp_path):
    long = sample(0, kind="correction").model_copy(update={"content": LONG})
    store = stored(tmp_path / "home", [(long, GOOD), *rows(2)[1:]])
    with pytest.raises(InputError, match=f"sample {0:020d} cannot be published as correction: it has several turns"):
        build(store, "desk", tmp_path / "tree", TERMS)
    assert not (tmp_path / "tree").exists()


def test_a_secret_or_an_empty_answer_in_a_conversation_with_tools_is_found(tmp_path):
    key = "ghp_" + "0123456789abcdefghijABCDEFGHIJ456789"
    leaking = Content.of([*CALLED.turns[:2], Turn("tool", f"token {key}", name="weather")], [Response("So.")])
    empty = Content.of(CALLED.turns, [Response(" ")], CALLED.tools)
    thinking = Content.of(CALLED.turns, [Response("<think>hm</think> So.")], CALLED.tools)
    made = [(sample(n, kind="dialogue").model_copy(update={"content": one}), GOOD)
            for n, one in enumerate((leaking, empty, thinking, CALLED.alone()))]  # fmt: skip
    store = stored(tmp_path / "home", made)
    with store.writing() as db:
        db.execute("UPDATE base.version_rows SET kept = true, place = 9 WHERE NOT kept")
    problems = build(store, "desk", tmp_path / "tree", TERMS.model_copy(update={"held_out": 0})).problems
    wanted = ("hold what looks like a secret", "have an empty text", "hold marks of a model's reasoning")
    found = {what: [one for one in problems if what in one] for what in wanted}
    assert all(f"1 samples {what}" in found[what][0] and f"{n:020d}" in found[what][0] for n, what in enumerate(wanted))
    assert len(problems) == 3


def test_lineage_tells_where_every_row_comes_from(store, tmp_path):
    build(store, "desk", tmp_path / "tree", TERMS)
    known = {row["sample_id"]: row for batch in version_batches(store, "desk-v1") for row in batch.to_pylist()}
    configs = ("messages", "preference", "lineage")
    messages, preference, lineage = (load(tmp_path / "tree", name, tmp_path / "cache") for name in configs)
    loaded_by_config, seen = {"messages": messages, "preference": preference}, []
    for split, told in lineage.items():
        for row in told:
            loaded = loaded_by_config[row["config"]][split][row["row"]]
            origin = known[row["sample_id"]]
            answer = loaded["chosen"][0] if row["config"] == "preference" else loaded["messages"][1]
            assert answer["content"] == origin["answer"] and split == origin["split"]
            assert {name: row[name] for name in ("run_id", "leaf", "method", "model", "kind")} == {
                name: origin[name] for name in ("run_id", "leaf", "method", "model", "kind")
            }
            seen.append(row["sample_id"])
    assert sorted(seen) == sorted(known)
    [score] = next(row for row in lineage["train"] if row["config"] == "messages")["scores"]
    assert score["step"] == "critique" and score["judge"] == "judge-70b" and score["threshold"] == 3.5


def test_what_people_did_is_in_the_lineage_as_the_version_froze_it(tmp_path):
    store = stored(tmp_path / "home", [*rows(6), *pairs(6, 2)])
    for n, action, edit in ((0, "keep", None), (1, "edit", {"answer": "Better."}), (6, "rejected", None)):
        record(store, "anna", Event("run1", f"{n:020d}", action, edit=edit))
    made = refilter(store, "desk", {})
    told = [row for batch in published_batches(store, made.version, 0.1) for row in batch.to_pylist()]
    reviews = {int(row["sample_id"]): row["review"] for row in told}
    assert {n: review for n, review in reviews.items() if review != "none"} == {0: "kept", 1: "edited", 6: "turned"}
    turned = next(row for row in told if row["review"] == "turned")
    assert turned["answer"] == "Worse 6." and turned["rejected"].startswith("Answer 6.")


def test_the_same_version_gives_the_same_bytes_however_it_is_read(store, tmp_path):
    build(store, "desk", tmp_path / "a", TERMS)
    build(store, "desk-v1", tmp_path / "b", TERMS)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    for rows_at_once in (7, 1000):
        into = tmp_path / str(rows_at_once)
        write_data(published_batches(store, "desk-v1", 0.1, rows_at_once), "messages", into)
        data = {name: content for name, content in files(tmp_path / "a").items() if name.startswith("data/")}
        assert files(into) == data


def test_row_groups_pages_and_features_are_what_the_viewer_wants(tmp_path):
    made = [batch([sample(n) for n in range(start, start + 500)]) for start in range(0, 2500, 500)]
    [part, _] = write_data(made, "messages", tmp_path)
    meta = pyarrow.parquet.ParquetFile(tmp_path / part.path).metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [1000, 1000, 500]
    column = meta.row_group(0).column(0)
    assert column.compression == "ZSTD" and column.has_offset_index and column.has_column_index
    assert b"huggingface" in meta.metadata, "the features that datasets reads"


def test_long_texts_make_smaller_row_groups(tmp_path):
    [part, _] = write_data([batch([sample(n, answer="x" * 4_000_000) for n in range(20)])], "messages", tmp_path)
    meta = pyarrow.parquet.ParquetFile(tmp_path / part.path).metadata
    sizes = [meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)]
    assert meta.num_row_groups == 3 and max(sizes) < 100_000_000


def test_a_large_split_is_cut_into_files_that_say_how_many_they_are(tmp_path):
    texts = [f"{n} " + " ".join(str(n * k) for k in range(60)) for n in range(5000)]
    made = [batch([sample(n, answer=texts[n]) for n in range(start, start + 1000)]) for start in range(0, 5000, 1000)]
    parts = [part for part in write_data(made, "messages", tmp_path, 200_000) if part.config == "messages"]
    assert len(parts) > 2 and sum(part.rows for part in parts) == 5000
    assert [part.path for part in parts] == [
        f"data/messages/train-{n:05d}-of-{len(parts):05d}.parquet" for n in range(len(parts))
    ]
    read = pa.concat_tables(pyarrow.parquet.read_table(tmp_path / part.path) for part in parts)
    assert [row[1]["content"] for row in read["messages"].to_pylist()] == texts


def test_rows_are_read_as_they_are_written(tmp_path):
    """Memory stays small because no batch is asked for before those before it are in the file."""
    sizes = []

    def watched():
        for start in range(0, 8000, 1000):
            sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*.part")))
            yield batch([sample(n) for n in range(start, start + 1000)])

    write_data(watched(), "messages", tmp_path)
    assert sizes == sorted(sizes) and sizes[-1] > 2 * sizes[2] > 0


def test_a_crash_in_the_middle_leaves_the_old_tree_or_none(tmp_path):
    folder = tmp_path / "tree"
    for old in (None, b"old"):
        if old:
            with appearing(folder) as part:
                (part / "README.md").write_bytes(old)
        with pytest.raises(RuntimeError, match="went away"), appearing(folder, ("README.md",)) as part:
            (part / "README.md").write_bytes(b"new")
            raise RuntimeError("the store went away")
        assert (folder / "README.md").read_bytes() == old if old else not folder.exists()
        assert [path.name for path in tmp_path.iterdir()] == (["tree"] if old else []), "nothing else is left"


def test_a_new_tree_takes_the_place_of_an_old_one_and_nothing_of_the_old_stays(store, tmp_path):
    build(store, "desk", tmp_path / "tree", TERMS.model_copy(update={"form": "prompt-completion"}))
    build(store, "desk", tmp_path / "tree", TERMS)
    configs = sorted(path.name for path in (tmp_path / "tree" / "data").iterdir())
    assert configs == ["lineage", "messages", "preference"] and [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_folder_that_holds_something_else_is_left_alone(store, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds no tree of Seedbed's: name a new folder"):
        build(store, "desk", tmp_path, TERMS)
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_file_beside_an_earlier_tree_is_never_removed(store, tmp_path):
    folder = tmp_path / "tree"
    build(store, "desk", folder, TERMS)
    (folder / "data" / "notes").mkdir()
    (folder / "data" / "notes" / "mine.md").write_text("years of work")
    before = files(folder)
    with pytest.raises(InputError, match=r"files that are not Seedbed's: data/notes/mine\.md\. .* new folder"):
        build(store, "desk", folder, TERMS)
    assert files(folder) == before and [path.name for path in tmp_path.iterdir()] == ["tree"]
    (folder / "data" / "notes" / "mine.md").unlink()
    build(store, "desk", folder, TERMS)
    assert not (folder / "data" / "notes").exists()


def test_a_file_that_comes_while_a_tree_is_built_is_not_removed_either(tmp_path):
    folder = tmp_path / "tree"
    with appearing(folder) as part:
        (part / "README.md").write_text("old")
    with pytest.raises(InputError, match=r"mine\.md"), appearing(folder, ("README.md",)) as part:
        (part / "README.md").write_text("new")
        (folder / "mine.md").write_text("years of work")
    assert files(folder) == {"README.md": b"old", "mine.md": b"years of work"}
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_an_empty_version_is_refused_and_leaves_nothing(tmp_path):
    dropped = [(sample(0, status="dropped", step="critique", reason="critique below 3.5"), (scored(1.0),))]
    store = stored(tmp_path / "home", dropped)
    with pytest.raises(InputError, match="desk-v1 has no sample to publish"):
        build(store, "desk", tmp_path / "tree", TERMS)
    assert not (tmp_path / "tree").exists()


def test_a_tree_that_is_not_what_the_store_says_is_found(store, tmp_path):
    with appearing(tmp_path / "tree") as part:
        parts = write_data(published_batches(store, "desk-v1", 0.1), "messages", part)
        build(store, "desk", tmp_path / "whole", TERMS)
        for name in ("README.md", "manifest.json"):
            (part / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    [pair] = [one for one in parts if one.path.startswith("data/preference/train")]
    short = pyarrow.parquet.read_table(tmp_path / "tree" / pair.path)
    pyarrow.parquet.write_table(short.slice(1), tmp_path / "tree" / pair.path)
    [problem] = inspect(tmp_path / "tree", parts).problems
    assert problem.startswith("datasets does not load the tree: NonMatchingSplitsSizesError")


def test_rows_and_columns_are_compared_with_what_was_written(store, tmp_path):
    build(store, "desk", tmp_path / "tree", TERMS)
    parts = write_data(published_batches(store, "desk-v1", 0.1), "messages", tmp_path / "again")
    assert inspect(tmp_path / "tree", parts).problems == ()
    one, *others = parts
    more = inspect(tmp_path / "tree", [dataclasses.replace(one, rows=one.rows + 1), *others])
    assert more.problems == (f"messages/train: {one.rows} rows were loaded, the store has {one.rows + 1}",)
    renamed = [dataclasses.replace(part, config=part.config.replace("messages", "prompt-completion")) for part in parts]
    assert "datasets does not load the tree" in inspect(tmp_path / "tree", renamed).problems[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": "Question? Answer."}, "for plain text"),
        ({"messages": TURNS, "prompt": TURNS[:1]}, "TRL fails on it: KeyError"),
        ({"prompt": TURNS[:1], "chosen": TURNS, "rejected": TURNS}, "another prompt in a pair"),
        ({"prompt": [], "completion": TURNS[1:]}, "TRL fails on it: IndexError"),
    ],
)
def test_rows_that_trl_reads_otherwise_are_problems(row, said):
    pytest.importorskip("trl")
    [problem], note = read_by_trl({"messages/train": [row]})
    assert problem.startswith("messages/train: ") and said in problem and "read by TRL" in note


def test_rows_that_trl_would_train_on_without_a_word_are_problems(tmp_path):
    made = [*rows(4), (sample(7, answer=" \n"), ()), *pairs(8, 2)]
    store = stored(tmp_path / "home", made)
    with store.writing() as db:
        db.execute("UPDATE base.samples SET rejected = 'Same' || chr(10), answer = 'Same' || chr(10) WHERE ordinal = 8")
        db.execute("INSERT INTO base.version_rows SELECT * REPLACE (99 AS place, true AS kept) FROM base.version_rows "
                   "WHERE NOT kept")  # fmt: skip
    built = build(store, "desk", tmp_path / "tree", TERMS)
    told = [problem for problem in built.problems if "an empty text, or two equal answers" in problem]
    assert len(told) == 2 and f"{7:020d}" in told[0] and f"{8:020d}" in told[1]
