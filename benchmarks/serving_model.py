"""The model of the serving benchmark: the stock model's shape on rows of its own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pyarrow as pa

from containers.dataset import write_dataset
from containers.job import write_json
from containers.train import train
from tidemill.model import load_model

PROJECT: Final = Path(__file__).resolve().parent.parent
ROWS: Final = 50_000
ROW: Final = {"ticker_symbol": "T07", "sector": "S7", "change": 1.25}


def train_example(base: Path) -> None:
    """Train the artefact below `base`, as the training job does."""
    chance = random.Random(0)  # noqa: S311 - data, not a secret
    tickers = [chance.randrange(30) for _ in range(ROWS)]
    changes = [chance.gauss(0, 2) for _ in range(ROWS)]
    prices = [
        50 + 3 * ticker + (1 + ticker % 8) * change + chance.gauss(0, 3.7)
        for ticker, change in zip(tickers, changes, strict=True)
    ]
    rows = pa.table(
        {
            "row_id": [f"{place:016d}" for place in range(ROWS)],
            "ticker_symbol": [f"T{ticker:02d}" for ticker in tickers],
            "sector": [f"S{ticker % 8}" for ticker in tickers],
            "change": changes,
            "price": prices,
        }
    )
    data = base / "input" / "data"
    write_dataset(data / "train" / "rows.parquet", rows)
    model = load_model(PROJECT / "models" / "stock_price.toml")
    write_json(data / "spec" / "model.json", model.to_dict())
    train(base)
