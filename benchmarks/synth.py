"""Synthesizing the stacks, against an empty CDK app."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.pairs import line, pair
from scripts.commands.target import PROJECT, tools_path

EMPTY = "import aws_cdk as cdk; app = cdk.App(); cdk.Stack(app, 'Empty'); app.synth()"


def main() -> None:
    """Print the ratio of the two synths."""
    with tempfile.TemporaryDirectory() as folder:

        def run(*arguments: str) -> None:
            environment = {**os.environ, "PATH": tools_path(), "CDK_OUTDIR": folder}
            subprocess.run(
                [sys.executable, *arguments],
                check=True,
                cwd=PROJECT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        both = pair(lambda: run("app.py"), lambda: run("-c", EMPTY), rounds=3)
        size = sum(len(file.read_bytes()) for file in Path(folder).glob("*.template.json"))
    line(
        "synth / an empty CDK app",
        f"{both.ratio:.2f}  ({both.first:.1f} / {both.second:.1f} s)",
        f"{size:,} bytes of templates",
    )


if __name__ == "__main__":
    main()
