"""The process's environment, settled before MiniStack is imported: it reads most of it then."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from local.certificates import Certificates, certificates

ACCOUNT = "000000000000"
REGION = "us-east-1"


@dataclass(frozen=True)
class Settings:
    """Where one local cloud lives and how it is reached."""

    directory: Path
    port: int
    strict: bool
    certificates: Certificates | None
    root_key: str
    """The engine's own all-powerful key: made anew each start, never given to anybody."""

    @property
    def endpoint_url(self) -> str:
        """Where the cloud answers."""
        return f"{'https' if self.strict else 'http'}://127.0.0.1:{self.port}"

    @property
    def temporary(self) -> Path:
        """Where workers unpack their code; emptied at every start and stop."""
        return self.directory / "tmp"


def settle(directory: Path, port: int, *, strict: bool) -> Settings:
    """Set the environment of this process for one cloud, and say what it is."""
    found = certificates(directory / "certificates") if strict else None
    # AWS_ENDPOINT_URL and AWS_PROFILE of a user would leak into Lambda workers.
    for name in [name for name in os.environ if name.startswith(("AWS_", "MINISTACK_"))]:
        del os.environ[name]
    settings = Settings(directory, port, strict, found, f"AKIA{secrets.token_hex(8).upper()}")
    settings.temporary.mkdir(parents=True, exist_ok=True)
    os.environ.update(_variables(settings))
    return settings


def _variables(settings: Settings) -> dict[str, str]:
    variables = {
        "GATEWAY_PORT": str(settings.port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "MINISTACK_WORKER_THREADS": "32",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(settings.directory / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(settings.directory / "s3"),
        "TMPDIR": str(settings.temporary),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
        # The credentials of the engine itself: MiniStack takes AWS_ACCESS_KEY_ID for root.
        "AWS_ACCESS_KEY_ID": settings.root_key,
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        # A proxy for the world outside is none for this machine.
        "NO_PROXY": _without_proxy("NO_PROXY"),
        "no_proxy": _without_proxy("no_proxy"),
        # Every worker is a child of this process: what they print is not to be buffered.
        "PYTHONUNBUFFERED": "1",
    }
    if settings.certificates is not None:
        variables |= {
            "AUTH": "true",
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(settings.certificates.certificate),
            "MINISTACK_SSL_KEY": str(settings.certificates.key),
            **settings.certificates.environment(),
        }
    return variables


def _without_proxy(name: str) -> str:
    return ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))
