"""The local cloud's process: MiniStack with the services of ours, until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from pathlib import Path
from typing import Any

from local.engines.ministack.address import readdress
from local.engines.ministack.seams import check_version
from local.engines.ministack.settings import Settings, settle

_log = logging.getLogger(__name__)


def run(directory: Path, port: int, *, strict: bool) -> None:
    """Serve one cloud until SIGTERM or SIGINT; state is kept in `directory`."""
    check_version()
    temporary = directory / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # what a killed process left
    settings = settle(directory, port, strict=strict)
    readdress(settings)
    try:
        asyncio.run(_serve(settings))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


async def _serve(settings: Settings) -> None:
    # Only now: MiniStack reads its settings while it is imported.
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack import app

    from local.engines.ministack.assembly import Assembly
    from local.engines.ministack.guard import guarded

    assembly = Assembly(settings)
    assembly.install()
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A client that leaves without goodbye is no news: few say it, and the killed cannot.
        if not isinstance(context.get("exception"), (TimeoutError, ConnectionError)):
            loop.default_exception_handler(context)

    loop.set_exception_handler(report)
    # asyncio waits half a minute for each idle client to say goodbye in TLS, as few do.
    asyncio.constants.SSL_SHUTDOWN_TIMEOUT = 0.5  # type: ignore[attr-defined]  # it has no stub
    config = Config()
    config.bind = [f"127.0.0.1:{settings.port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    config.alpn_protocols = ["http/1.1"]
    if settings.certificates is not None:
        config.certfile = str(settings.certificates.certificate)
        config.keyfile = str(settings.certificates.key)

    async def end() -> None:
        await told.wait()
        # Services end while requests are still answered: what they flush goes to S3.
        await asyncio.to_thread(assembly.stop)

    guard = guarded(app.app, settings.root_key, assembly.persistence.touch, assembly.command)
    application: Any = guard  # hypercorn's own alias wants its own scopes
    serving = asyncio.create_task(serve(application, config, shutdown_trigger=end))
    starting = asyncio.create_task(asyncio.to_thread(assembly.start))
    done, _ = await asyncio.wait({serving, starting}, return_when=asyncio.FIRST_EXCEPTION)
    if starting in done and starting.exception() is not None:
        told.set()
        await serving
        starting.result()
    await serving
    assembly.cleanup()
