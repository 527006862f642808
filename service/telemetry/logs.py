"""The form of the log: one event a line, as text or as JSON."""

import json
import logging
import logging.config
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from pythonjsonlogger.json import JsonFormatter

from service.telemetry.log_stream import LosingHandler

LOG_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


# What every event of the running request carries: its id, and the ids of its trace.
REQUEST_FIELDS: Final[ContextVar[Mapping[str, str]]] = ContextVar("REQUEST_FIELDS", default=MappingProxyType({}))


class RequestFields(logging.Filter):
    """Adds the fields of the running request to every event, unless the event says otherwise."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in REQUEST_FIELDS.get().items():
            vars(record).setdefault(name, value)
        return True


class TextFormatter(logging.Formatter):
    """One event a line: time, level, logger, message, then its fields as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        words = [moment.replace("+00:00", "Z"), f"{record.levelname:7}", record.name, _one_line(record.getMessage())]
        words += [f"{key}={_field(value)}" for key, value in _fields(record).items()]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(log_format: Literal["text", "json"], log_level: str) -> None:
    """Send every event of the process to standard error, one line each; uvicorn's own access log stays off."""
    formatters: dict[str, dict[str, Any]] = {
        "text": {"()": TextFormatter},
        "json": {
            "()": JsonFormatter,
            "fmt": ["levelname", "name", "message"],
            "timestamp": "time",
            "rename_fields": {"levelname": "level", "name": "logger"},
        },
    }
    handler = {
        "()": lambda: LosingHandler(sys.stderr),
        "formatter": log_format,
        "filters": ["request"],
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": formatters,
            "filters": {"request": {"()": RequestFields}},
            "handlers": {"stderr": handler},
            "root": {"handlers": ["stderr"], "level": log_level.upper()},
            "loggers": {"uvicorn": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
        }
    )


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in LOG_FIELDS}


def _field(value: object) -> str:
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else json.dumps(text)


def _one_line(message: str) -> str:
    # What a client sent may stand in a message; a line feed in it would forge an event.
    return message if message.isprintable() else message.encode("unicode_escape").decode()
