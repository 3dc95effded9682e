"""curator's run, by its own Python: python -m benchmarks.peers.with_curator BASE_URL RECORDS FOLDER.

Two `LLM` classes behind each other: the second begins when the first has all its answers. The limits of calls and
tokens a minute are set out of the way. The vocabulary that it counts tokens with is the copy that litellm, which it
needs, comes with: tiktoken would fetch it from the web.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from bespokelabs import curator
from datasets import Dataset

from benchmarks.peers.prompts import CONCURRENCY, MAX_TOKENS, MODEL, TEMPERATURE, TOP_P, judging, request


class Answering(curator.LLM):  # type: ignore[misc]  # curator is not installed where mypy looks
    """Makes the answer."""

    def prompt(self, row: dict[str, int]) -> str:
        """The request."""
        return request(row["number"])

    def parse(self, row: dict[str, int], reply: str) -> dict[str, object]:
        """The row with its answer."""
        return {"request": request(row["number"]), "answer": reply}


class Judging(curator.LLM):  # type: ignore[misc]  # curator is not installed where mypy looks
    """Judges the answer."""

    def prompt(self, row: dict[str, str]) -> str:
        """The question about the answer."""
        return judging(row["answer"])

    def parse(self, row: dict[str, str], reply: str) -> dict[str, object]:
        """The row with the judge's opinion."""
        return {**row, "opinion": reply}


def use_vocabulary_at_hand() -> None:
    """Tell tiktoken where litellm has it."""
    if (litellm := find_spec("litellm")) and litellm.origin:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers")


def main() -> None:
    """Generate, judge, store; print how many records have an answer and an opinion."""
    base_url, records, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    use_vocabulary_at_hand()
    settings = {
        "model_name": MODEL,
        "backend": "openai",
        "generation_params": {"temperature": TEMPERATURE, "top_p": TOP_P, "max_tokens": MAX_TOKENS},
        "backend_params": {
            "base_url": base_url,
            "api_key": "none",
            "max_concurrent_requests": CONCURRENCY,
            "max_requests_per_minute": 1_000_000,
            "max_tokens_per_minute": 1_000_000_000,
        },
    }
    rows = Dataset.from_dict({"number": list(range(records))})
    answered = Answering(**settings)(rows, working_dir=str(folder / "answers")).dataset
    made = Judging(**settings)(answered, working_dir=str(folder / "opinions")).dataset
    made.to_parquet(folder / "peers.parquet")
    print(sum(bool(row["answer"] and row["opinion"]) for row in made))


if __name__ == "__main__":
    main()
