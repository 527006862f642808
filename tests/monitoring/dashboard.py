"""The Grafana dashboard as a test reads it: its panels, and the names in its queries."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.conftest import REPOSITORY

MONITORING = REPOSITORY / "monitoring"
# PromQL without what is in quotes or braces: names that are not functions, keywords or lists of labels.
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
RANGE = re.compile(r"\[[^\]]*\]")
LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
MATCHERS = re.compile(r"\{([^}]*)\}")
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w)(?!\s*\()")
KEYWORDS = frozenset({"and", "or", "unless", "offset", "bool", "by", "without"})
DURATION = re.compile(r"\b\d+[smhdwy]\b")


@dataclass(frozen=True)
class Query:
    """One query of one panel."""

    panel: str
    expression: str

    def with_values(self, interval: str) -> str:
        """As Grafana sends it, with every variable at `All`."""
        filled = re.sub(r"\$(job|instance|label)\b", ".*", self.expression)
        return filled.replace("$__rate_interval", interval)


def dashboard() -> dict[str, Any]:
    """The file."""
    return dict(json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8")))


def panels() -> list[dict[str, Any]]:
    """All panels but the rows that head them."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for panel in panels():
        yield from (Query(panel["title"], target["expr"]) for target in panel["targets"])


def metric_names(expression: str) -> set[str]:
    """The series that a PromQL expression asks for.

    >>> sorted(metric_names('sum by (le) (rate(a_bucket{x="b_total"}[5m])) / c_total offset 1d'))
    ['a_bucket', 'c_total']
    """
    bare = STRING.sub("", expression)
    for pattern in (RANGE, LABELS, MATCHERS, DURATION):
        bare = pattern.sub(" ", bare)
    return set(NAME.findall(bare)) - KEYWORDS


def label_names(expression: str) -> set[str]:
    """The labels that an expression selects or groups by.

    >>> sorted(label_names('sum by (le, job) (rate(a{x="b"}[5m]))'))
    ['job', 'le', 'x']
    """
    grouped = [name.strip() for names in LABELS.findall(expression) for name in names.split(",")]
    matched = [
        name for text in MATCHERS.findall(expression) for name in re.findall(r"(\w+)\s*[=!]~?", STRING.sub("", text))
    ]
    return {*grouped, *matched} - {""}
