"""A data set of the Hub, at the commit that its name meant when it was opened.

`hf://datasets/OWNER/NAME[@REVISION][/CONFIG][/SPLIT]`: one name behind the data set is the split, two are the config
and the split. Without a revision the newest commit is meant, without a split the only one, or `train`; a slash in a
revision is written %2F. `datasets` says which files that is. They are streamed and read as our own files are, for
`datasets` guesses types from the first rows of a file.
"""

from __future__ import annotations

import io
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote

from seedbed.credentials import without_secrets
from seedbed.sources.readers import READERS, File, ending
from seedbed.sources.source import Source
from seedbed.yamlfile import BadInput, Problem, nearest

if TYPE_CHECKING:
    from huggingface_hub import HfFileSystem

HUB = "hf://"
_SPEC = re.compile(r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?(/(?P<a>[^/]+))?(/(?P<b>[^/]+))?/?")
_SPELLING = "Write hf://datasets/OWNER/NAME, and behind it @REVISION, /SPLIT or /CONFIG/SPLIT as needed"
_REACH = "Correct the name, log in with HF_TOKEN if it is not open to all, or put a copy of its files here"
_BLOCK = 1 << 20
_SHOWN = 300  # characters of an error


def open_hub(spec: str) -> Source:
    """The rows of one split of a data set. Raises BadInput, also where the Hub cannot be reached."""
    named = _SPEC.fullmatch(spec)
    if named is None:
        raise _bad(spec, "this is no name of a data set of the Hub", _SPELLING)
    config, split = (named["a"], named["b"]) if named["b"] else (None, named["a"])
    try:
        revision, info, files = _look_up(named["repo"], unquote(named["revision"] or "") or None, config)
    except Exception as error:  # `datasets` raises whatever its parts do; which part, its user cannot know
        said = " ".join(str(error).split())[:_SHOWN].rstrip(".") or type(error).__name__
        raise _bad(spec, f"it cannot be opened: {without_secrets(said)}", _REACH) from error
    split = split or ("train" if len(files) > 1 else next(iter(files), "train"))
    if split not in files:
        raise _bad(spec, f"it has no split {split!r}", f"{nearest(split, files)}. {_SPELLING}")
    urls = [str(url) for url in files[split]]
    if odd := next((url for url in urls if not ending(url)), ""):
        what = f"its rows are in files that are not read here, such as {PurePosixPath(odd).name}"
        raise _bad(spec, what, f"Files are read that end in {', '.join(READERS)}: export it so, and name the file")
    told = (info.splits or {}).get(split)
    known = told.num_examples if told is not None and told.num_examples else None
    return Source(spec.rstrip("/"), tuple(map(_file, urls)), revision, known=known)


def _look_up(repo: str, revision: str | None, config: str | None) -> tuple[str, Any, dict[str, list[str]]]:
    """The commit, what `datasets` knows of the config, and its files by split."""
    from datasets import load_dataset_builder
    from huggingface_hub import HfApi

    commit = HfApi(library_name="seedbed").dataset_info(repo, revision=revision).sha
    builder = load_dataset_builder(f"hf://datasets/{repo}", config, revision=commit)
    return str(commit), builder.info, {str(split): list(urls) for split, urls in builder.config.data_files.items()}


def _file(url: str) -> File:
    return File(_SPEC.sub("", url.partition("@")[2]).partition("/")[2], lambda: _opened(url))


def _opened(url: str) -> BinaryIO:
    from huggingface_hub import HfFileSystem

    files: HfFileSystem = HfFileSystem()
    return cast("BinaryIO", io.BufferedReader(files.open(url, "rb", block_size=_BLOCK), _BLOCK))


def _bad(spec: str, what: str, write: str) -> BadInput:
    return BadInput(Problem(spec, 0, what, write))
