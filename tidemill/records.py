"""Turns a record of the stream into rows for the lake: checked, identified, encoded."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidemill import device, envelope, rejection, row_ids
from tidemill.model import Model
from tidemill.rejection import Place, RejectedRow, Rejection
from tidemill.row_check import Checked, RowFormat, all_bad

NO_MODEL = "there is no such model"


@dataclass(frozen=True)
class StreamRecord:
    """A record as Kinesis holds it."""

    data: bytes
    partition_key: str
    stream: str
    shard: str
    sequence: str


@dataclass(frozen=True)
class Transformed:
    """What became of a record: CSV lines `row_id,source_id,<columns in the model's order>`."""

    model: str
    lines: bytes
    rows: int
    rejection: Rejection | None


class Transformer:
    """Transforms records of the given models, by name."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models
        self._format = functools.lru_cache(maxsize=64)(self._make_format)

    def transform(self, record: StreamRecord) -> Transformed:
        """Check a record's rows and give the good ones their ids. Never raises for bad data."""
        if envelope.is_enveloped(record.data):
            try:
                envelope_, rows = envelope.decode(record.data)
            except ValueError:
                pass  # Some device's own: rejected below, row by row.
            else:
                return self._file(envelope_, rows)
        return self._device(record)

    def _make_format(self, model: str, columns: tuple[str, ...]) -> RowFormat:
        return RowFormat(self._models[model], columns)

    def _file(self, envelope_: envelope.Envelope, rows: bytes) -> Transformed:
        source = envelope_.source
        known = source.model in self._models
        try:
            checked = self._format(source.model, envelope_.columns).check(rows, envelope_.offset)
        except (KeyError, ValueError):
            # The model's file was changed or taken away while the rows were under way.
            reason = "the model has other columns now" if known else NO_MODEL
            checked = all_bad(rows, reason)
        origin = row_ids.file_origin(source.model, source.bucket, source.key, source.version_id)
        ids = row_ids.row_ids(origin, checked.offsets)
        place = Place(
            source.model if known else rejection.UNKNOWN_MODEL,
            row_ids.source_id(source.bucket, source.key, source.version_id),
            rejection.at_offset(envelope_.offset),
            source.uri,
            source.version_id,
        )
        return _transformed(place, ids, checked, envelope_.line)

    def _device(self, record: StreamRecord) -> Transformed:
        name = record.partition_key.partition("/")[0]
        rows = record.data if record.data.endswith(b"\n") else record.data + b"\n"
        events: dict[int, str] = {}
        if name not in self._models:
            checked = all_bad(rows, NO_MODEL)
        else:
            columns = tuple(column.name for column in self._models[name].columns)
            checked, events = device.check(rows, self._format(name, columns), columns)
        origin = row_ids.device_origin(name, record.stream, record.shard, record.sequence)
        ids = row_ids.row_ids(origin, checked.offsets)
        for index, event_id in events.items():
            ids[index] = row_ids.event_row_id(name, event_id)
        place = Place(
            name if name in self._models else rejection.UNKNOWN_MODEL,
            rejection.DEVICE,
            f"{record.shard}-{record.sequence}",
            f"{record.stream}/{record.shard}/{record.sequence}",
            None,
        )
        return _transformed(place, ids, checked, first_line=1)


def _transformed(
    place: Place, ids: Sequence[bytes], checked: Checked, first_line: int
) -> Transformed:
    bad = [
        RejectedRow(row.reason, first_line + row.line, row.text, row.column) for row in checked.bad
    ]
    # Strided assignment and one join: nothing is made for a row.
    parts = [b",%b," % place.source_id.encode()] * (3 * len(ids))
    parts[0::3] = ids
    parts[2::3] = checked.lines
    return Transformed(
        place.model,
        b"".join(parts),
        len(ids),
        rejection.of_rows(place, bad) if bad else None,
    )
