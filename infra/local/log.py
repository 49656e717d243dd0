"""Structured logging of the host and its workers: one JSON object per line on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON. Each value of `extra=` becomes a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Log to stderr from the level MATCHCUT_LOG_LEVEL up (default INFO), and libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(
        level=os.environ.get("MATCHCUT_LOG_LEVEL", "INFO").upper(), handlers=[handler], force=True
    )
    for noisy in ("azure", "durabletask", "urllib3", "httpx", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
