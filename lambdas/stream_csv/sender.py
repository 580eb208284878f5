"""Sends an uploaded file into the stream, as far as one invocation's time goes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from lambdas.adapters.rejections import Rejections
from lambdas.adapters.stream import OutOfTimeError, Stream
from lambdas.adapters.uploads import Uploads
from tidemill import rejection, upload
from tidemill.header import FileRefusedError
from tidemill.model import Model
from tidemill.upload import Position

STEP_SECONDS = 20.0
"""Time that a step must have left: reading its range, and putting it at a shard's 1 MB a second."""
_LEFT_FOR_THE_CHAIN = 3.0


class Outcome(Enum):
    """How an invocation leaves a file."""

    SENT = "sent"
    REFUSED = "refused"
    CHAINED = "chained"


@dataclass(frozen=True)
class Sender:
    """Drives uploads; models by name."""

    models: Mapping[str, Model]
    uploads: Uploads
    stream: Stream
    rejections: Rejections

    def send(self, position: Position, deadline: float) -> tuple[Outcome, Position]:
        """Send a file from `position` on; what does not fit before `deadline` (of
        `time.monotonic`) is chained, but at least one step is made.

        Raises what boto3 raises, and `OutOfTimeError` where not one step could be made: the
        queue then delivers the message again.
        """
        try:
            if not position.offset:
                self.uploads.streaming(position)
            return self._steps(position, deadline)
        except FileRefusedError as error:
            self._refuse(position, f"the file {error}")
            return Outcome.REFUSED, position

    def _steps(self, start: Position, deadline: float) -> tuple[Outcome, Position]:
        model = self._model(start)
        position = start
        while True:
            step = upload.advance(position, self.uploads.read(position), model)
            try:
                self.stream.put(step.records, deadline - _LEFT_FOR_THE_CHAIN)
            except OutOfTimeError:
                if position is start:
                    raise
                break
            self.rejections.write(step.rejections)
            position = step.next
            del step  # Its records are as large as the next range, which is read now.
            if position.done:
                self.uploads.sent(position)
                return Outcome.SENT, position
            if time.monotonic() > deadline - STEP_SECONDS:
                break
        self.uploads.chain(position)
        return Outcome.CHAINED, position

    def _model(self, position: Position) -> Model:
        name = position.source.model
        if name not in self.models:
            known = ", ".join(self.models)
            raise FileRefusedError(
                f"names no model: {upload.UPLOADS_PREFIX}<model>/<file>.csv wants one of {known}"
            )
        return self.models[name]

    def _refuse(self, position: Position, reason: str) -> None:
        source = position.source
        model = source.model if source.model in self.models else rejection.UNKNOWN_MODEL
        place = rejection.Place(
            model, position.id, rejection.at_offset(0), source.uri, source.version_id
        )
        self.rejections.write([rejection.of_file(place, reason)])
        self.uploads.refused(position, reason)
