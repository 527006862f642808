"""The form of the log."""

import json
import logging
from collections.abc import Iterator

import pytest

from service.telemetry.logs import TextFormatter, configure_logging


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    """A log record at the beginning of time."""
    made = logging.makeLogRecord({"name": "a.b", "levelname": "INFO", "msg": message, "args": arguments, **fields})
    made.created = 0.0
    return made


def test_text_line_holds_time_level_logger_message_and_fields() -> None:
    line = TextFormatter().format(record("GET %s %d", "/model", 200, ms=1.5, client="::1"))
    assert line == "1970-01-01T00:00:00.000Z INFO    a.b GET /model 200 ms=1.5 client=::1"


def test_values_with_spaces_are_quoted() -> None:
    assert TextFormatter().format(record("x", reason='no "GPU"')).endswith(r'reason="no \"GPU\""')


def test_line_feed_from_a_client_forges_no_event() -> None:
    line = TextFormatter().format(record("GET %s 404", "/a\n2026 INFO forged", name_sent="b\r\nforged"))
    assert len(line.splitlines()) == 1


@pytest.mark.usefixtures("_logging_restored")
def test_json_log_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    logging.getLogger("a.b").info("GET %s", "/model\n", extra={"ms": 1.5})
    logging.getLogger("a.b").debug("not asked for")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    entry = json.loads(lines[0])
    assert entry.pop("time")
    assert entry == {"level": "INFO", "logger": "a.b", "message": "GET /model\n", "ms": 1.5}
