"""The way of a row through the domain, in the order of its modules.

`upload` reads a file range by range (`header`, `csv_scan`) and packs its rows into records under
an `envelope`; `records` takes a record apart again, checks its rows against the model
(`row_check`, `values`, for devices `device`), gives each its id (`row_ids`) and sets the bad ones
aside (`rejection`).
"""

from tidemill.records import StreamRecord, Transformed, Transformer
from tidemill.row_ids import source_id
from tidemill.upload import Position, Step, advance

__all__ = [
    "Position",
    "Step",
    "StreamRecord",
    "Transformed",
    "Transformer",
    "advance",
    "source_id",
]
