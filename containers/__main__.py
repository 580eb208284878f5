"""The image's entry point: SageMaker starts it with the argument `train` or `serve`."""

from __future__ import annotations

import sys

USAGE = "usage: python -m containers train|serve"


def main(arguments: list[str]) -> int:
    """Run the named job; return its exit code, 2 for wrong usage."""
    # Imported late: training loads scikit-learn, which must stay out of the serving process.
    if arguments == ["train"]:
        from containers import train

        return train.main()
    if arguments == ["serve"]:
        from containers import serve

        return serve.main()
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
