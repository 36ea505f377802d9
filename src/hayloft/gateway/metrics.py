"""What the gateway counts, for Prometheus.

With several worker processes every one of them answers ``/metrics`` for all: prometheus-client's
multiprocess mode, which ``PROMETHEUS_MULTIPROC_DIR`` (set by the supervisor) turns on, keeps the values
in mapped files. Photo reads are counted in plain integers first and written there once a second and
before every scrape: a read costs less than updating a metric.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hayloft.types import DirectoryStatistics, StoreHealth

FLUSH_SECONDS: Final = 1.0

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """One worker's counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "hayloft_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._read_bytes = Counter(
            "hayloft_photo_read_bytes", "Bytes of photos sent to clients.", registry=registry
        )
        self._upload_bytes = Counter("hayloft_upload_bytes", "Bytes of photos stored.", registry=registry)
        self._seconds = Histogram(
            "hayloft_request_seconds",
            "Time to answer, photo reads excepted.",
            ["route"],
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self._memory = Gauge(
            "hayloft_upload_memory_bytes",
            "Upload bytes held in memory.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._failures = Counter(
            "hayloft_replica_failures", "Replicas that failed.", ["store", "code"], registry=registry
        )
        self._reads: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._bytes_read = 0

    def read(self, method: str, status: int, size: int) -> None:
        """A photo was read."""
        self._reads[method, status] += 1
        self._bytes_read += size

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Another request was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def uploaded(self, size: int) -> None:
        """A photo was stored."""
        self._upload_bytes.inc(size)

    def memory(self, size: int) -> None:
        """This many upload bytes are held now."""
        self._memory.set(size)

    def replica_failed(self, store: str, code: str) -> None:
        """A replica failed."""
        self._failures.labels(store, code).inc()

    def flush(self) -> None:
        """Write the reads counted meanwhile."""
        reads, self._reads = self._reads, defaultdict(int)
        size, self._bytes_read = self._bytes_read, 0
        for (method, status), count in reads.items():
            self._requests.labels(method, "/photo/{photo_id}", str(status)).inc(count)
        if size:
            self._read_bytes.inc(size)

    def render(self, statistics: DirectoryStatistics | None, stores: Iterable[StoreHealth]) -> bytes:
        """All workers' counts and the roles' own totals, in the exposition format."""
        self.flush()
        counted = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            counted = CollectorRegistry()
            multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        totals = CollectorRegistry()
        totals.register(_Totals(statistics, stores))
        return generate_latest(counted) + generate_latest(totals)


class _Totals(Collector):
    """Totals that belong to no worker, read fresh."""

    def __init__(self, statistics: DirectoryStatistics | None, stores: Iterable[StoreHealth]) -> None:
        self._statistics = statistics
        self._stores = tuple(stores)

    def collect(self) -> Iterator[Metric]:
        """One gauge for each total."""
        if self._statistics is not None:
            yield from _directory_totals(self._statistics)
        free = GaugeMetricFamily("hayloft_store_free_bytes", "Free space.", labels=["store"])
        capacity = GaugeMetricFamily("hayloft_store_capacity_bytes", "Disk size.", labels=["store"])
        for health in self._stores:
            free.add_metric([health.store], health.free_bytes)
            capacity.add_metric([health.store], health.capacity_bytes)
        yield from (free, capacity)


def _directory_totals(statistics: DirectoryStatistics) -> Iterator[Metric]:
    gauge = GaugeMetricFamily
    yield gauge("hayloft_photos", "Active photos.", value=statistics.photos)
    yield gauge("hayloft_photos_deleted", "Deleted photos.", value=statistics.deleted)
    yield gauge("hayloft_photo_bytes", "Bytes of active originals.", value=statistics.bytes)
    yield gauge("hayloft_volumes", "Logical volumes.", value=statistics.volumes)
    yield gauge("hayloft_volumes_writable", "Volumes that take writes.", value=statistics.writable_volumes)
    refused = int(bool(statistics.uploads_refused))
    yield gauge("hayloft_uploads_refused", "1 while no volume can be had to write to.", value=refused)
    yield gauge("hayloft_events", "Position of the last event.", value=statistics.last_event)
