"""A new MiniStack that moved its private parts is noticed here, by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.engines.ministack import seams


def test_the_version_is_the_one_that_was_read() -> None:
    seams.check_version()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "VERSION", "0.0.0")
    with pytest.raises(RuntimeError, match=r"install ministack==0\.0\.0"):
        seams.check_version()


def test_private_parts_are_where_they_were(tmp_path: Path) -> None:
    # In a process of its own, for MiniStack reads its environment and begins threads on import.
    code = "from local.engines.ministack import seams; print(*seams.moved(), sep='\\n')"
    environment = {**os.environ, "STATE_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=Path(seams.__file__).parents[3],
    )
    assert done.stdout.strip() == ""


def test_a_part_that_moved_is_named() -> None:
    tree = "from ministack.services import sqs\nsqs._not_there"
    import ast

    assert seams._uses(ast.parse(tree)) == [("ministack.services.sqs", "_not_there", 2)]
