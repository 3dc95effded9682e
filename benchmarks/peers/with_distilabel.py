"""distilabel's run, by its own Python: python -m benchmarks.peers.with_distilabel BASE_URL RECORDS FOLDER.

Two `TextGeneration` tasks behind each other. A batch of 256 is asked all at once, and the next begins when its last
answer is there; no setting bounds the calls otherwise. Raw inputs and outputs are not kept a second time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

from benchmarks.peers.prompts import JUDGE, MAX_TOKENS, MODEL, TEMPERATURE, TOP_P, request

BATCH = 256


def task(base_url: str, name: str, template: str, reads: str, writes: str) -> TextGeneration:
    """A task with a client of its own."""
    drawn = {"temperature": TEMPERATURE, "top_p": TOP_P, "max_new_tokens": MAX_TOKENS}
    return TextGeneration(
        name=name,
        llm=OpenAILLM(model=MODEL, base_url=base_url, api_key="none", generation_kwargs=drawn),
        template=template,
        columns=[reads],
        output_mappings={"generation": writes},
        input_batch_size=BATCH,
        add_raw_input=False,
        add_raw_output=False,
    )


def main() -> None:
    """Generate, judge, store; print how many records have an answer and an opinion."""
    base_url, records, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    with Pipeline(name="peers", cache_dir=folder / "cache") as pipeline:
        rows = LoadDataFromDicts(data=[{"request": request(n)} for n in range(records)], batch_size=BATCH)
        answer = task(base_url, "answer", "{{ request }}", "request", "answer")
        judge = task(base_url, "judge", JUDGE, "answer", "opinion")
        rows >> answer >> judge
    made = pipeline.run(use_cache=False)["default"]["train"]
    made.to_parquet(folder / "peers.parquet")
    print(sum(bool(row["answer"] and row["opinion"]) for row in made))


if __name__ == "__main__":
    main()
