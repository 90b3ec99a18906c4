"""Metrics as values.

Family, Snapshot       one metric with its samples; all metrics of a process
snapshot()             the metrics of this process
merged(snapshots)      the sum of several snapshots
text(families)         a snapshot in the text format of Prometheus
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec
import prometheus_client
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from ... import metrics

# For other gauges the latest measurement counts.
SUMMED_GAUGES = {
    "ringbook_now",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
}


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric with its samples: (name, labels, value)."""

    name: str
    kind: str
    help: str
    measured_at: float
    samples: list[tuple[str, dict[str, str], float]]


Snapshot = Sequence[Family]


def snapshot() -> Snapshot:
    """The metrics of this process, without the creation times of counters, which cannot be added up."""
    return [
        Family(
            family.name,
            family.type,
            family.documentation,
            metrics.measured_at(family.name),
            [(one.name, one.labels, one.value) for one in family.samples if not one.name.endswith("_created")],
        )
        for family in prometheus_client.REGISTRY.collect()
    ]


def merged(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Add up counters and histograms. A gauge is a sum (`SUMMED_GAUGES`) or its latest value."""
    families: dict[str, list[Family]] = {}
    for family in chain.from_iterable(snapshots):
        families.setdefault(family.name, []).append(family)
    return [_merged(same) for same in families.values()]


def _merged(same: list[Family]) -> Family:
    if same[0].kind == "gauge" and same[0].name not in SUMMED_GAUGES:
        return max(same, key=lambda family: family.measured_at)
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for name, labels, value in chain.from_iterable(family.samples for family in same):
        key = name, tuple(labels.items())
        values[key] = values.get(key, 0.0) + value
    samples = [(name, dict(labels), value) for (name, labels), value in values.items()]
    return msgspec.structs.replace(same[0], samples=samples)


class _Values(Collector):
    """A snapshot as a collector, which the library can write."""

    def __init__(self, families: Snapshot) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


def text(families: Snapshot) -> str:
    """A snapshot in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Values(families))
    return prometheus_client.generate_latest(registry).decode()
