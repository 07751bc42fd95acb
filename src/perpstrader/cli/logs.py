"""The log of a run: JSON lines in ``<data-dir>/perpstrader.log``, bounded, private, without secrets."""

from __future__ import annotations

import logging
import os
from collections.abc import MutableMapping
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import structlog

from perpstrader.traces.redaction import redact
from perpstrader.trader.places import prepare_folder

LOG_FILE: Final = "perpstrader.log"
_MAX_BYTES: Final = 5_000_000
_KEPT: Final = 3


class _PrivateFile(RotatingFileHandler):
    """Each file that it opens can be read by its owner alone."""

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        os.chmod(self.baseFilename, 0o600)
        return stream


def configure(data_dir: Path) -> Path:
    """Everything that is logged from now on goes to the file, whose path is returned; at most 20 MB are kept."""
    prepare_folder(data_dir)
    path = data_dir / LOG_FILE
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = _PrivateFile(path, maxBytes=_MAX_BYTES, backupCount=_KEPT, encoding="utf-8")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_secrets,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _PrivateFile):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
    )  # fmt: skip
    return path


def note_unexpected(error: Exception) -> Path | None:
    """Write the error with its stack to the log; the file, ``None`` where none can be written."""
    current = next((h for h in logging.getLogger().handlers if isinstance(h, _PrivateFile)), None)
    try:
        path = Path(current.baseFilename) if current is not None else configure(_default_dir())
    except OSError:
        return None
    logging.getLogger("perpstrader").error("the program ended", exc_info=error)
    return path


def _default_dir() -> Path:
    given = os.environ.get("PERPSTRADER_DATA_DIR")
    return Path(given) if given else Path.home() / ".perpstrader"


def _without_secrets(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    redacted = redact({key: value if isinstance(value, str) else _plain(value) for key, value in event.items()})
    return redacted if isinstance(redacted, dict) else event


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | bool | dict | list | None) else str(value)
