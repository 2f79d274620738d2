"""Figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for standard in (ProcessCollector, PlatformCollector, GCCollector):
            standard(registry=self.registry)
        self._calls = Counter("cloudwright_api_calls", "Calls", ["command", "status"], registry=self.registry)
        self._seconds = Histogram(
            "cloudwright_api_seconds",
            "Seconds from call to answer",
            registry=self.registry,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
        )

    def call(self, command: str, status: int, seconds: float) -> None:
        self._calls.labels(command, str(status)).inc()
        self._seconds.observe(seconds)

    def gauges(self, read: Callable[[], dict[str, tuple[str, float]]]) -> None:
        """Add gauges that are read when asked for: name -> (what it is, value)."""
        self.registry.register(_Gauges(read))


class _Gauges(Collector):
    def __init__(self, read: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._read = read

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, (text, value) in self._read().items():
            yield GaugeMetricFamily(f"cloudwright_{name}", text, value=value)
