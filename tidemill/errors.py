"""What can go wrong in the domain. Every error of ours is a `TidemillError`."""

from __future__ import annotations

from collections.abc import Sequence


class TidemillError(Exception):
    """The root of all errors that Tidemill itself raises; its text says what to do next."""


class ModelFileError(TidemillError):
    """A model file breaks a rule.

    `file`, `key`, `rule` and `allowed` are those of the first problem found; `others` holds the
    further problems of the same reading, so that all of them can be mended at once. The text
    names every problem on a line of its own. `key` is a dotted path ("gate.margin"), or empty
    where the file as a whole is at fault; `allowed` is empty where nothing can be listed.
    """

    def __init__(
        self,
        file: str,
        key: str,
        rule: str,
        allowed: str = "",
        others: Sequence[ModelFileError] = (),
    ) -> None:
        self.file = file
        self.key = key
        self.rule = rule
        self.allowed = allowed
        self.others = tuple(others)
        super().__init__("\n".join([self.line, *(other.line for other in self.others)]))

    @property
    def line(self) -> str:
        """The first problem as one line of text."""
        place = f"{self.file}: {self.key}: " if self.key else f"{self.file}: "
        return place + self.rule + (f" (allowed: {self.allowed})" if self.allowed else "")

    @classmethod
    def together(cls, errors: Sequence[ModelFileError]) -> ModelFileError:
        """One error that carries all of `errors` (at least one), in order."""
        flat = [part for error in errors for part in (error, *error.others)]
        first = flat[0]
        return cls(first.file, first.key, first.rule, first.allowed, flat[1:])


class WarehouseError(TidemillError):
    """A statement or a change that the warehouse cannot take."""


class StatementConflictError(WarehouseError):
    """A transaction lost against a concurrent one; the same statements may succeed again."""


class StatementTimeoutError(WarehouseError):
    """A statement was still running when the time ended; it may yet succeed."""


class MigrationError(WarehouseError):
    """The warehouse cannot be brought to what the model files ask for."""
