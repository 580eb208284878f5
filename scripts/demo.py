"""`make demo`: from nothing to a prediction on a local cloud of its own, and nothing left behind.

It does what a user would type: `tidemill up`, `stream` twice, `refresh`, `predict`, `refresh`
again, `down --wipe`. It prints the seconds of each.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from local import cloud
from scripts.commands import deploy, predict, refresh, stream
from scripts.commands.console import CommandError, Console, Stopwatch
from scripts.commands.target import LOCAL, PROJECT, Target
from scripts.generate_data import write_stock_price
from tidemill.errors import TidemillError

MODEL = "stock_price"
ROWS = 153_580
T = TypeVar("T")


class Demo:
    """The demo's stages, each timed."""

    def __init__(self, directory: Path) -> None:
        self.console = Console()
        self.target = Target(LOCAL, "dev", directory, PROJECT / "models")
        self.seconds: list[tuple[str, float]] = []

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        """Carry out one stage and keep its seconds."""
        self.console.say(f"\n$ {stage}")
        watch = Stopwatch()
        done = work()
        self.seconds.append((stage, watch.seconds))
        return done

    def stream(self, file: Path, shown: str) -> None:
        """Stream one file and print its counts."""
        result = self.timed(
            f"tidemill stream {MODEL} {shown}",
            lambda: stream.stream(self.target, self.console, MODEL, file, timeout=600),
        )
        stream.show(self.console, result)

    def refresh(self) -> str:
        """Run a refresh, print the gate's reasons and return the decision."""
        output = self.timed(
            f"tidemill refresh {MODEL}",
            lambda: refresh.refresh(self.target, self.console, MODEL),
        )
        refresh.show(self.console, output)
        return str(output["decision"])

    def predict(self) -> None:
        """Print one prediction made through the API."""
        features = json.dumps(example_features(PROJECT / "samples" / f"{MODEL}.csv"))
        answer = self.timed(
            f"tidemill predict {MODEL} '{features}'",
            lambda: predict.predict(self.target, MODEL, features),
        )
        predict.show(self.console, answer)

    def run(self, data: Path) -> None:
        """The whole story."""
        self.timed(
            "tidemill up",
            lambda: deploy.up(self.target, self.console, port=None, assume_yes=True),
        )
        self.stream(data, data.name)
        self.stream(PROJECT / "samples" / f"{MODEL}.csv", f"samples/{MODEL}.csv")
        self.refresh()
        self.predict()
        if self.refresh() == "rejected":
            self.console.say(
                f"The gate kept the champion. To see a second version released, widen the margin "
                f"in models/{MODEL}.toml, or stream rows that are news: samples/drifted.csv"
            )
        self.predict()


def example_features(sample: Path) -> dict[str, str | float]:
    """The features of a sample file's first row, without the target (its last column)."""
    header, row = sample.read_text().splitlines()[:2]
    pairs = list(zip(header.split(","), row.split(","), strict=True))[:-1]
    return {name: float(text) if _is_number(text) else text for name, text in pairs}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def main() -> None:
    """Run the demo and print the seconds of its stages; exit 1 where a stage failed."""
    watch = Stopwatch()
    failed = False
    folder = Path(tempfile.mkdtemp(prefix="tidemill-demo-"))
    demo = Demo(folder / "state")
    try:
        data = folder / f"{MODEL}.csv"
        demo.timed(f"make {ROWS:,} rows", lambda: write_stock_price(data, ROWS))
        demo.run(data)
    except (CommandError, TidemillError) as error:
        sys.stderr.write(f"error: {error}\n  {getattr(error, 'hint', '')}\n")
        failed = True
    finally:
        demo.timed("tidemill down --wipe", lambda: cloud.stop(demo.target.directory))
        shutil.rmtree(folder)
    demo.console.say("")
    for stage, seconds in [*demo.seconds, ("all", watch.seconds)]:
        demo.console.say(f"{seconds:7.1f} s  {stage[:70]}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
