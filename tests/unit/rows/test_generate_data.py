"""The data whose truth is known."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import pytest

from scripts import generate_data as data
from tidemill.model import load_models

PROJECT = Path(__file__).resolve().parents[3]


def test_samples_are_what_the_generator_makes() -> None:
    for name, text in data.samples().items():
        assert (PROJECT / "samples" / name).read_text() == text


def test_the_noise_is_what_is_told_and_the_seed_decides(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    data.write_stock_price(file, 20_000, seed=4)
    assert file.read_text() == "".join(data.stock_price(20_000, seed=4))
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    errors = []
    for row in rows:
        share, slope = data.SECTORS[row["sector"]]
        truth = data.LEVELS[row["ticker_symbol"]] + share + slope * float(row["change"])
        errors.append(float(row["price"]) - truth)
    assert statistics.pstdev(errors) == pytest.approx(data.NOISE, rel=0.02)
    assert len({row["ticker_symbol"] for row in rows}) == 30
    assert len({row["sector"] for row in rows}) == 8


@pytest.mark.parametrize("name", ["stock_price", "iris"])
def test_headers_are_the_models(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.csv"
    data.main([name, "--out", str(file)])
    model = load_models(PROJECT / "models")[name]
    assert file.open().readline().strip().split(",") == [column.name for column in model.columns]
