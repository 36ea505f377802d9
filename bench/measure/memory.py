"""Resident memory of all of Hayloft's processes for each needle slot that a million photos add.

Two servers as they come (workers by the number of cores, linking on), one on a thousand photos and one on
a million, do the same things: every page of the index is touched by reading every fiftieth photo (a page
holds the entries of a hundred), the listing is paged through a little, some photos are uploaded and
fingerprinted. Then the proportional set sizes of all processes are added up: private memory, and each
shared page once. The difference, divided by the slots between the two, is what a slot costs. Fingerprints
of the million are not in it, because the million was not fingerprinted (see ``measure.fill``).
"""

from __future__ import annotations

import http.client
import statistics
import time
import urllib.error
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from hayloft.limits import SLOTS_PER_PHOTO
from measure import contenders
from measure.bench import Bench
from measure.collection import Collection
from measure.contenders import Contender
from measure.load import LoadError
from measure.million import Filled, Pair, pair
from measure.photos import KIB
from measure.result import Measurement, PartResult, Target, Verdict, interleave

TARGET_PER_SLOT = Target(bound=10, side="at most")
TARGET_PER_PHOTO = Target(bound=50, side="at most")
STEP = 50
UPLOADS = 40
INGEST_SECONDS_MAX = 120
SETTLE_SECONDS = 3
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What all processes hold, in bytes."""

    all: int
    index: int
    """The part of it that is the mapped index."""
    processes: int


def run(bench: Bench) -> PartResult:
    """Measure both servers and take the difference."""
    both = pair(bench)
    samples = interleave(
        {
            "few": lambda: footprint(bench, both.few),
            "many": lambda: footprint(bench, both.many),
        },
        rounds=3,
        progress=bench.say,
    )
    added = len(both.many.targets) - len(both.few.targets)
    per_photo = tuple(
        (many.all - few.all) / added for few, many in zip(samples["few"], samples["many"], strict=True)
    )
    index_per_photo = statistics.median(
        (many.index - few.index) / added for few, many in zip(samples["few"], samples["many"], strict=True)
    )
    how = f"PSS of {samples['many'][0].processes} processes, {_counts(both)}, every index page touched"
    return PartResult(
        part="memory",
        title="Memory",
        measurements=tuple(
            Measurement(
                what=f"PSS of all processes, {len(filled.targets):,} photos",
                contender="hayloft",
                unit="MiB",
                rounds=tuple(one.all / MIB for one in samples[name]),
            )
            for name, filled in (("few", both.few), ("many", both.many))
        ),
        verdicts=(
            _verdict(
                "memory per additional needle slot",
                [value / SLOTS_PER_PHOTO for value in per_photo],
                TARGET_PER_SLOT,
                how,
            ),
            _verdict(
                f"memory per additional photo of {SLOTS_PER_PHOTO} slots",
                list(per_photo),
                TARGET_PER_PHOTO,
                f"the same; {index_per_photo:.1f} bytes of it are the mapped index",
            ),
        ),
        notes=(
            "The million was stored without HTTP and not fingerprinted: similarity's memory for it is not "
            "in these figures.",
        ),
    )


def _counts(both: Pair) -> str:
    return f"{len(both.many.targets):,} photos against {len(both.few.targets):,}"


def _verdict(what: str, rounds: list[float], target: Target, how: str) -> Verdict:
    value = statistics.median(rounds)
    return Verdict(what=what, value=value, unit="bytes", rounds=tuple(rounds), how=how, target=target)


def footprint(bench: Bench, filled: Filled) -> Footprint:
    """Start a server as it comes, use it, and weigh it."""
    with contenders.hayloft(filled.data, workers=None) as server:
        read_every(server, filled.targets, STEP)
        for _ in range(5):
            server.get("/photos?limit=200")
        uploads = Collection(
            name="memory", root=bench.work, serials=range(1 << 40, (1 << 40) + UPLOADS), size=8 * KIB
        )
        uploads.upload(server)
        wait_for_ingest(bench, server)
        time.sleep(SETTLE_SECONDS)
        pids = server.pids
        return Footprint(
            all=server.pss_bytes(), index=sum(_index_pss(pid) for pid in pids), processes=len(pids)
        )


def read_every(server: Contender, targets: tuple[str, ...], step: int) -> None:
    """Read every so manieth photo, one after the other.

    Raises:
        LoadError: an answer was not 200.
    """
    address = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    for target in targets[::step]:
        connection.request("GET", target)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise LoadError(f"{target} was answered {answer.status}")
    connection.close()


def wait_for_ingest(bench: Bench, hayloft: Contender) -> None:
    """Wait until what was uploaded is fingerprinted too, so that reads are measured undisturbed.

    Raises:
        LoadError: it was not done in time.
    """
    deadline = time.monotonic() + INGEST_SECONDS_MAX
    said = "nothing"
    while time.monotonic() < deadline:
        try:
            pending = hayloft.get_json("/similarity/status")["pending"]
        except urllib.error.HTTPError as error:
            said = f"HTTP status {error.code}"  # the ingest process may still be starting
        else:
            if pending == 0:
                return
            said = f"{pending} events pending"
        bench.say(f"waiting for ingest: {said}")
        time.sleep(2)
    raise LoadError(f"ingest was not done after {INGEST_SECONDS_MAX} seconds: {said}")


def _index_pss(pid: int) -> int:
    """What a process holds of mapped index files."""
    total, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(".index")
        elif inside and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total
