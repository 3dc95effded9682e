"""data-designer's run, by its own Python: python -m benchmarks.peers.with_data_designer BASE_URL RECORDS FOLDER.

Two text columns over a seed column of numbers. Without its health check of the model; its validation of the
configuration and its profile of the columns cannot be left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import data_designer.config as dd
import pandas as pd  # type: ignore[import-untyped]
from data_designer.interface import DataDesigner

from benchmarks.peers.prompts import CONCURRENCY, JUDGE, MAX_TOKENS, MODEL, REQUEST, TEMPERATURE, TOP_P


def designed(records: int) -> dd.DataDesignerConfigBuilder:
    """The columns: number, answer, opinion."""
    drawn = dd.ChatCompletionInferenceParams(
        temperature=TEMPERATURE, top_p=TOP_P, max_tokens=MAX_TOKENS, max_parallel_requests=CONCURRENCY
    )
    model = dd.ModelConfig(
        alias="mock", model=MODEL, provider="mock", inference_parameters=drawn, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame({"number": range(records)})))
    builder.add_column(dd.LLMTextColumnConfig(name="answer", prompt=REQUEST, model_alias="mock"))
    builder.add_column(dd.LLMTextColumnConfig(name="opinion", prompt=JUDGE, model_alias="mock"))
    return builder


def main() -> None:
    """Generate, judge, store; print how many records have an answer and an opinion."""
    base_url, records, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    provider = dd.ModelProvider(name="mock", endpoint=base_url, provider_type="openai", api_key="none")
    designer = DataDesigner(artifact_path=folder, model_providers=[provider])
    made = designer.create(designed(records), num_records=records, dataset_name="peers").load_dataset()
    print(int((made["answer"].str.len().gt(0) & made["opinion"].str.len().gt(0)).sum()))


if __name__ == "__main__":
    main()
