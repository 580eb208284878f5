"""One database of a namespace: a DuckDB file, and the lock that puts its writers in a row.

DuckDB appends a commit to its write-ahead log and syncs it before the commit returns, so what a
client was told is done is still there after the process was killed.
"""

from __future__ import annotations

import atexit
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.services.memory import trim
from local.services.warehouse import catalogue
from local.services.warehouse.errors import CancelledError, ConflictError

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "1GB"
THREADS = 2
IDLE_SECONDS = 10.0
"""After which an unused database gives its memory back."""


class WriteLock:
    """Held by one transaction that writes, from its first write to its end."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._holder: object | None = None

    def acquire(self, holder: object, cancelled: threading.Event) -> None:
        """Wait for the lock. Raises `CancelledError` when `cancelled` is set meanwhile."""
        with self._condition:
            while self._holder is not None and self._holder is not holder:
                if cancelled.is_set():
                    raise CancelledError
                self._condition.wait(0.1)
            self._holder = holder

    def release(self, holder: object) -> None:
        """Let the next writer in; nothing happens where `holder` does not hold the lock."""
        with self._condition:
            if self._holder is holder:
                self._holder = None
                self._condition.notify_all()


class Database:
    """A database file. `connect` is safe in any thread; a connection belongs to one at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.write_lock = WriteLock()
        self._folder = folder
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._users = 0
        self._idle: threading.Timer | None = None
        self._version = 0
        self._changed: dict[str, int] = {}

    @property
    def path(self) -> Path:
        """The file that holds the tables."""
        return self._folder / self.name / f"{catalogue.DATABASE}.duckdb"

    @property
    def scratch(self) -> Path:
        """The folder for what COPY and UNLOAD move; DuckDB may read and write no other."""
        return self._folder / self.name / "scratch"

    def connect(self) -> Any:
        """A connection of its own to the database, which is opened or made at the first call."""
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
                # A thread that comes back from DuckDB into an interpreter that is gone aborts
                # the process: none may be closing the database then.
                atexit.register(self.close)
            self._users += 1
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            connection = self._connection.cursor()
        connection.execute(f"SET search_path = 'public,{catalogue.SCHEMA}'")
        return connection

    def _open(self) -> duckdb.DuckDBPyConnection:
        import duckdb  # 40 MB that an idle cloud without a warehouse should not pay

        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        connection = duckdb.connect(
            str(self.path),
            config={
                "threads": THREADS,
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(self.scratch / "spill"),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
                "integer_division": True,
            },
        )
        scratch = str(self.scratch).replace("'", "''")
        connection.execute(f"SET GLOBAL allowed_directories = ['{scratch}']")
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute("SET GLOBAL enable_external_access = false")
        catalogue.prepare(connection, self.name)
        return connection

    def release(self, connection: Any) -> None:
        """Give back a connection; a database that nobody uses for a while is closed."""
        connection.close()
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._connection is not None:
                self._idle = threading.Timer(IDLE_SECONDS, self._close_if_idle)
                self._idle.daemon = True
                self._idle.start()

    def _close_if_idle(self) -> None:
        with self._lock:
            if self._users or self._connection is None:
                return
            self._connection.close()
            self._connection = None
            self._idle = None
            atexit.unregister(self.close)
        trim()

    def close(self) -> None:
        """Write the log into the file and let it go."""
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                atexit.unregister(self.close)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def remove(self) -> None:
        """Delete the database with everything in it."""
        self.close()
        shutil.rmtree(self._folder / self.name, ignore_errors=True)

    @property
    def version(self) -> int:
        """How many transactions have changed the database since it was opened."""
        with self._lock:
            return self._version

    def committed(self, tables: set[str]) -> None:
        """Note that a transaction which changed these tables has been committed."""
        if tables:
            with self._lock:
                self._version += 1
                self._changed.update(dict.fromkeys(tables, self._version))

    def check(self, table: str, snapshot: int) -> None:
        """Raise `ConflictError` where a table was changed after a snapshot was taken."""
        with self._lock:
            if self._changed.get(table, 0) > snapshot:
                raise ConflictError(table)
