"""The metrics of one process as plain data, and the sum over processes.

Counters and histograms add up, and stay when their process is gone. Gauges count for the processes that live, each
put together as its definition says.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from service.telemetry.definitions import DEFINITIONS

Together = Callable[[float, float], float]
Key = tuple[str, tuple[tuple[str, str], ...]]

LASTING: Final = frozenset({"counter", "histogram", "summary"})
_RULES: Final[Mapping[str, Together]] = {"sum": operator.add, "max": max, "min": min}
_TOGETHER: Final[Mapping[str, Together]] = {
    "process_start_time_seconds": min,
    "process_max_fds": min,
    "process_open_fds": max,  # each process has a limit of its own
    **{definition.full_name: _RULES[definition.across] for definition in DEFINITIONS if definition.kind == "gauge"},
}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its samples by name and labels."""

    name: str
    meaning: str
    kind: str
    unit: str
    samples: Mapping[Key, float]


Report = Sequence[Family]


def report_of(registry: CollectorRegistry) -> Report:
    """What a registry would show now."""
    return [_family(metric) for metric in registry.collect()]


def added(reports: Iterable[Report]) -> Report:
    """The sum of reports, in the order in which their metrics first appear.

    >>> one = Family("frames", "Frames", "counter", "", {("frames_total", ()): 2.0})
    >>> added([[one], [one]])[0].samples
    {('frames_total', ()): 4.0}
    """
    total: dict[str, Family] = {}
    for report in reports:
        for family in report:
            known = total.get(family.name)
            total[family.name] = _sum(known, family) if known else family
    return list(total.values())


def lasting(report: Report) -> Report:
    """What of a report still counts when its process is gone."""
    return [family for family in report if family.kind in LASTING]


class ReportCollector(Collector):
    """A report in place of a registry, for whoever writes metrics down."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        """The report's metrics."""
        for family in self._report:
            metric = Metric(family.name, family.meaning, family.kind, family.unit)
            for (name, labels), value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric


def _family(metric: Metric) -> Family:
    samples = {(sample.name, tuple(sample.labels.items())): float(sample.value) for sample in metric.samples}
    return Family(metric.name, metric.documentation, metric.type, metric.unit, samples)


def _sum(one: Family, other: Family) -> Family:
    together: Together = _TOGETHER.get(one.name, operator.add)
    samples = dict(one.samples)
    for key, value in other.samples.items():
        samples[key] = together(samples[key], value) if key in samples else value
    return Family(one.name, one.meaning, one.kind, one.unit, samples)
