"""`python -m benchmarks [NAME ...]`: run the benchmarks, all or those that are named."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = ("imports", "synth", "rows", "serving", "cloud")


def main() -> None:
    """Run them one after another; exit 2 for a name that there is not."""
    wanted = sys.argv[1:] or list(NAMES)
    unknown = set(wanted) - set(NAMES)
    if unknown:
        sys.stderr.write(
            f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}\n"
        )
        sys.exit(2)
    for name in wanted:
        import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
