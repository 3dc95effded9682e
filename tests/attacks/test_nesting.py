"""Values within values without end, from any file: a message with file and row, never a traceback."""

from __future__ import annotations

import gzip
import json

import pytest
from pydantic import ValidationError

from curators.decontaminate import Decontaminate, _unpacked
from exporters.manifest import read_manifest
from flows.show import sql
from seedbed.engines import EngineError
from seedbed.engines.vllm_launch import card_of
from seedbed.errors import InputError
from seedbed.nested import MOST_DEPTH, texts_in
from seedbed.request_file import read_requests
from seedbed.store import Store
from seedbed.vllm_recipe import VllmModel
from seedbed.yamlfile import BadInput
from trainer.manifest import read_used


def nested(depth: int, inner: str = '"a text of more than eight words, for one must"', key: bool = False) -> str:
    opening, closing = ('{"a":', "}") if key else ("[", "]")
    return opening * depth + inner + closing * depth


def test_texts_come_in_their_order_from_lists_and_mappings():
    assert list(texts_in({"a": ["1", {"b": "2", "c": [["3"], 4, None]}, "5"], "d": "6"})) == list("12356")
    assert list(texts_in(json.loads(nested(MOST_DEPTH, '"x"')))) == ["x"]


@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize(
    ("depth", "where"),
    [(MOST_DEPTH + 1, "row 2: values are nested more than 100 deep"), (1_000, "row 2: "), (100_000, "line 3, column ")],
)
def test_a_benchmark_that_is_nested_without_end_is_refused_with_its_file_and_row(tmp_path, depth, where, key):
    row = nested(depth, key=key)
    (tmp_path / "a.jsonl").write_text(f'{{"q": "fine"}}\n\n{row}\n')
    (tmp_path / "b.json").write_text(f"[{row}]")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(f'{{"q": "fine"}}\n\n{row}\n'.encode()))
    for name, told in {"a.jsonl": where, "b.json": "deep|depth", "c.jsonl.gz": where}.items():
        with pytest.raises(ValidationError, match=rf"{name} cannot be read: .*{told}"):
            Decontaminate.model_validate({"against": [name]}, context={"folder": tmp_path})


def test_a_benchmark_that_unpacks_to_more_than_memory_holds_is_refused():
    packed = gzip.compress(b"\0" * (3 << 20))
    assert len(_unpacked(packed, 3 << 20)) == 3 << 20
    with pytest.raises(ValueError, match="unpacked it is larger than 2 MiB"):
        _unpacked(packed, 2 << 20)


@pytest.mark.parametrize("depth", [70, 1_000, 20_000])
def test_requests_that_are_nested_without_end_are_refused_with_their_file(tmp_path, depth):
    for name, row in {"a.jsonl": nested(depth, key=True), "b.json": f'[{{"prompt": {nested(depth)}}}]'}.items():
        (tmp_path / name).write_text(row)
        with pytest.raises(BadInput, match=name):
            read_requests(tmp_path / name)


@pytest.mark.parametrize("depth", [70, 500, 2_000])
def test_sql_that_answers_with_lists_without_end_says_so(tmp_path, depth):
    with pytest.raises(InputError, match=r"cannot be read|nested|depth|recursion|parser"):
        sql(Store(tmp_path / "home"), f"SELECT {nested(depth, '1')} AS x")


@pytest.mark.parametrize("depth", [500, 20_000])
def test_lists_of_others_that_are_nested_without_end_are_none_of_ours(tmp_path, depth):
    assert read_manifest(nested(depth).encode()) is None
    assert read_manifest(f'{{"format": "seedbed-tree-1", "files": [{nested(depth)}]}}'.encode()) in (None, _no_files())
    (tmp_path / "rows.jsonl").write_text(nested(depth) + "\n")
    with pytest.raises(InputError, match=r"rows\.jsonl cannot be read"):
        read_used(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    for manifest in (nested(depth), "[]", '{"base": 3}', "{", '{"base": {}}'):
        (tmp_path / "manifest.json").write_text(manifest)
        with pytest.raises(EngineError, match=r"manifest\.json cannot be read"):
            card_of(VllmModel(model="smollm2-135m", adapter=tmp_path))


def _no_files():
    return read_manifest(b'{"format": "seedbed-tree-1", "files": []}')
