"""Makes data whose truth is known, so that a model can be right or wrong.

    python -m scripts.generate_data stock_price --rows 153580 --out FILE
    python -m scripts.generate_data iris --out FILE        scikit-learn's own 150 flowers
    python -m scripts.generate_data samples                 the files of samples/

A stock's price is its ticker's level, plus what its sector makes of the day's change, plus
gaussian noise of `NOISE`: no model can have a smaller RMSE on rows that it has not seen than the
noise, about 3.73. The same seed always makes the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator
from pathlib import Path

NOISE = 3.73
"""The standard deviation of a price around what its ticker, sector and change make of it."""
ROWS = 153_580
DRIFT = 25.0
"""What `drifted` adds to every price; it also turns the effect of a change around."""

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
HEADER = ("ticker_symbol", "sector", "change", "price")
SECTORS = {
    # The sector's share in the price, and what a change of 1 % adds to it.
    "TECHNOLOGY": (32.0, 3.1),
    "HEALTHCARE": (18.0, 1.4),
    "FINANCIAL": (9.0, 2.2),
    "ENERGY": (-6.0, 2.7),
    "RETAIL": (3.0, 0.9),
    "TELECOM": (-11.0, 0.6),
    "INDUSTRIAL": (5.0, 1.8),
    "UTILITIES": (-15.0, 0.4),
}
TICKERS = {
    "AMZN": "RETAIL", "AZLA": "TECHNOLOGY", "BNMA": "FINANCIAL", "BRVO": "ENERGY",
    "CRMX": "TECHNOLOGY", "DFGH": "UTILITIES", "DLTA": "INDUSTRIAL", "ECHO": "TELECOM",
    "FIBR": "TELECOM", "FRGT": "INDUSTRIAL", "GRDN": "HEALTHCARE", "HLTH": "HEALTHCARE",
    "INKR": "FINANCIAL", "JNGL": "RETAIL", "KILO": "ENERGY", "LMNT": "HEALTHCARE",
    "MARK": "FINANCIAL", "NGAS": "UTILITIES", "NRGY": "ENERGY", "OPTC": "TECHNOLOGY",
    "PHRM": "HEALTHCARE", "QUAN": "TECHNOLOGY", "RAIL": "INDUSTRIAL", "SHOP": "RETAIL",
    "SOLR": "ENERGY", "TELX": "TELECOM", "UTLX": "UTILITIES", "VNTG": "FINANCIAL",
    "WIRE": "TELECOM", "ZETA": "TECHNOLOGY",
}  # fmt: skip
# Levels lie far apart in no order of the alphabet, so that each ticker has to be learnt.
LEVELS = {ticker: 60.0 + 47 * index % 30 * 4.0 for index, ticker in enumerate(TICKERS)}

BAD_ROWS = (
    "AZLA,TECHNOLOGY,0.5",  # a column too few
    "AZLA,TECHNOLOGY,0.5,120.5,USD",  # and one too many
    "AZLA,TECHNOLOGY,a lot,120.5",
    "AZLA,TECHNOLOGY,NaN,120.5",
    "AZLA,TECHNOLOGY,0.5,inf",
    "AZLA,TECHNOLOGY,1_0,120.5",
    "AZLA,TECHNOLOGY, 0.5,120.5",
    'AZLA,TECHNOLOGY,0.5,"120,5"',
    "AZLA,TECHNOLOGY,0.5,1e999",
    "AZLA OF NASDAQ,TECHNOLOGY,0.5,120.5",  # longer than its column
    'AZLA,TECH"NOLOGY,0.5,120.5',
    '"AZLA,TECHNOLOGY,0.5,120.5',  # a quote that is never closed
)


def stock_price(rows: int, seed: int = 0, *, drifted: bool = False) -> Iterator[str]:
    """Yield a header and `rows` lines of CSV."""
    rng = random.Random(seed)  # noqa: S311  # data, no secret
    tickers = list(TICKERS)
    yield ",".join(HEADER) + "\n"
    for _ in range(rows):
        ticker = rng.choice(tickers)
        sector = TICKERS[ticker]
        share, slope = SECTORS[sector]
        change = rng.gauss(0.0, 1.5)
        truth = LEVELS[ticker] + share
        truth += DRIFT - slope * change if drifted else slope * change
        yield f"{ticker},{sector},{change:.4f},{truth + rng.gauss(0.0, NOISE):.4f}\n"


def write_stock_price(path: Path, rows: int = ROWS, seed: int = 0) -> None:
    """Write stock prices as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(stock_price(rows, seed))


def write_iris(path: Path) -> None:
    """Write scikit-learn's iris data as CSV, with the species by name. Needs scikit-learn."""
    from sklearn.datasets import load_iris

    data = load_iris()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sepal_length", "sepal_width", "petal_length", "petal_width", "species"])
        for features, species in zip(data.data, data.target, strict=True):
            writer.writerow([*map(float, features), data.target_names[species]])


def samples() -> dict[str, str]:
    """Return the text of each file in samples/, by name."""
    good = list(stock_price(10, seed=1))
    dirty = list(stock_price(len(BAD_ROWS) + 1, seed=2))
    mixed = [dirty[0]]
    for row, bad in zip(dirty[1:], BAD_ROWS, strict=False):
        mixed += [row, bad + "\n"]
    return {
        "stock_price.csv": "".join(good),
        "dirty.csv": "".join([*mixed, dirty[-1]]),
        "drifted.csv": "".join(stock_price(2_000, seed=3, drifted=True)),
    }


def write_samples(directory: Path) -> None:
    """Write the files of samples/ into a folder."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in samples().items():
        (directory / name).write_text(text, encoding="utf-8", newline="")


def main(arguments: list[str] | None = None) -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(prog="python -m scripts.generate_data")
    commands = parser.add_subparsers(dest="data", required=True)
    stocks = commands.add_parser("stock_price")
    stocks.add_argument("--rows", type=int, default=ROWS)
    stocks.add_argument("--seed", type=int, default=0)
    stocks.add_argument("--out", type=Path, required=True)
    commands.add_parser("iris").add_argument("--out", type=Path, required=True)
    commands.add_parser("samples").add_argument("--out", type=Path, default=SAMPLES)
    chosen = parser.parse_args(arguments)
    if chosen.data == "stock_price":
        write_stock_price(chosen.out, chosen.rows, chosen.seed)
    elif chosen.data == "iris":
        write_iris(chosen.out)
    else:
        write_samples(chosen.out)


if __name__ == "__main__":
    main()
