"""Structured logs: one JSON object a line on stderr. A failure is logged by its type and place, since messages may quote text."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

_LOGGER = logging.getLogger("interlock")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line.update(_where(record.exc_info[1]))
        return json.dumps(line)


def configure(level: str) -> None:
    """Sends all logs of the process, also those of libraries, to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def log_event(event: str, **fields: object) -> None:
    """Something an operator may want to know; fields never hold judged text."""
    _LOGGER.info(event, extra={"fields": fields})


def log_alarm(event: str, **fields: object) -> None:
    """Something that an operator has to act on; fields never hold judged text."""
    _LOGGER.error(event, extra={"fields": fields})


def log_failure(event: str, error: BaseException) -> None:
    """An unexpected exception: its type and where it was raised, not what it says."""
    _LOGGER.error(event, extra={"fields": _where(error)})


def _where(error: BaseException) -> dict[str, str]:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"error_type": type(error).__name__, "error_at": place}
