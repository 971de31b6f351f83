"""Structured logs: one JSON object a line on stderr. A failure is logged by its type and place, since messages may quote text.

Lines that are logged while a request is served say which: whatever logs, `about` has been told.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_LOGGER = logging.getLogger("interlock")
_ABOUT: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039, never changed in place
_WORDS = re.compile(r"[\w ]*")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if error is None else _without_values(record.getMessage()),
        }
        line.update({name: value for name, value in _ABOUT.get().items() if value})
        line.update(getattr(record, "fields", {}))
        if error is not None:
            line.update(_where(error))
        return json.dumps(line)


def configure(level: str) -> None:
    """Sends all logs of the process, also those of libraries, to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What gRPC says below that is about its own event loops, on every call.
    logging.getLogger("grpc").setLevel(max(logging.WARNING, logging.getLogger().level))


def about(**fields: str) -> None:
    """Names what the lines of this task, and of those that it begins, are about from now on; what is empty is not known."""
    _ABOUT.set(fields)


def log_detail(event: str, **fields: object) -> None:
    """What is of interest when something is looked into; fields never hold judged text."""
    if _LOGGER.isEnabledFor(logging.DEBUG):
        _LOGGER.debug(event, extra={"fields": fields})


def log_event(event: str, **fields: object) -> None:
    """Something an operator may want to know; fields never hold judged text."""
    _LOGGER.info(event, extra={"fields": fields})


def log_alarm(event: str, **fields: object) -> None:
    """Something that an operator has to act on; fields never hold judged text."""
    _LOGGER.error(event, extra={"fields": fields})


def log_failure(event: str, error: BaseException, **fields: object) -> None:
    """An unexpected exception: its type and where it was raised, not what it says; fields never hold judged text."""
    _LOGGER.error(event, extra={"fields": {**fields, **_where(error)}})


def _without_values(message: str) -> str:
    """The words that a message begins with: what follows may show the values that a failed call was given."""
    match = _WORDS.match(message)
    return match.group().strip() if match else ""


def _where(error: BaseException) -> dict[str, str]:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"error_type": type(error).__name__, "error_at": place}
