"""The sandbox: what a request costs is bounded, and whatever happens to one leaves the others alone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from hayloft.errors import ImageTooLarge, ShuttingDown, UnsupportedMedia
from hayloft.sandbox import Bounds, JobFailed, Sandbox

WORK = "sandbox_work:work"
BOUNDS = Bounds(memory_bytes=512 << 20, cpu_seconds=1, wall_seconds=20)


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    made = Sandbox(WORK, processes=1, bounds=BOUNDS)
    yield made
    await made.close()


async def test_bytes_go_in_and_come_out(sandbox: Sandbox) -> None:
    big = os.urandom(5_000_000)
    assert await sandbox.run(b"echo ", big, memoryview(b"tail")) == big + b"tail"
    assert await sandbox.run(b"echo ") == b""


async def test_errors_come_back_as_themselves(sandbox: Sandbox) -> None:
    with pytest.raises(ImageTooLarge, match="Too large, it says"):
        await sandbox.run(b"refuse")
    assert await sandbox.run(b"echo still here") == b"still here"


async def test_too_much_memory_is_refused_and_the_process_lives(sandbox: Sandbox) -> None:
    before = await sandbox.run(b"pid")
    with pytest.raises(UnsupportedMedia, match="memory"):
        await sandbox.run(b"greedy")
    assert await sandbox.run(b"pid") == before


async def test_too_much_time_is_ended_by_the_kernel(sandbox: Sandbox) -> None:
    with pytest.raises(UnsupportedMedia, match="processor time"):
        await sandbox.run(b"spin")
    assert await sandbox.run(b"echo on") == b"on"


async def test_it_gives_way_to_whoever_serves(sandbox: Sandbox) -> None:
    await sandbox.run(b"pid")
    pid = sandbox.pids[0]
    assert psutil.Process(pid).nice() > psutil.Process().nice()
    assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    # Linux schedules a session of its own as one against all of ours, whatever its niceness.
    assert os.getsid(pid) == os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)


async def test_work_that_nobody_waits_for_gives_way_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    sandbox = Sandbox(WORK, processes=1, bounds=BOUNDS, background=True)
    await sandbox.run(b"pid")
    assert os.sched_getscheduler(sandbox.pids[0]) == os.SCHED_IDLE
    await sandbox.close()


async def test_waiting_for_a_core_is_not_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a second and needs half of it, but another wants the only core that it may use."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    sandbox = Sandbox(WORK, processes=1, bounds=Bounds(wall_seconds=1), background=True)
    pid = int(await sandbox.run(b"pid"))
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {core})
    script = f"import os\nos.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    busy = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    assert busy.stdout is not None
    await busy.stdout.readline()
    working = asyncio.create_task(sandbox.run(b"work"))
    try:
        done, _ = await asyncio.wait([working], timeout=3)
        assert not done  # and not killed, either
    finally:
        busy.kill()
        await busy.wait()
    assert await working == b"worked"
    assert sandbox.pids == (pid,)
    await sandbox.close()


async def test_one_that_dies_is_replaced(sandbox: Sandbox) -> None:
    before = await sandbox.run(b"pid")
    with pytest.raises(JobFailed, match="ended with status -11"):
        await sandbox.run(b"die")
    assert await sandbox.run(b"pid") != before


async def test_one_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    sandbox = Sandbox(WORK, processes=1, bounds=Bounds(wall_seconds=2))
    with pytest.raises(JobFailed, match="did not end"):
        await sandbox.run(b"hang")
    assert await sandbox.run(b"echo on") == b"on"
    await sandbox.close()


async def test_what_libraries_print_does_not_spoil_answers(sandbox: Sandbox) -> None:
    assert await sandbox.run(b"print") == b"quiet"


async def test_a_caller_that_gives_up_takes_the_process_with_it(sandbox: Sandbox) -> None:
    pid = int(await sandbox.run(b"pid"))
    task = asyncio.create_task(sandbox.run(b"hang"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pid)
    assert await sandbox.run(b"echo on") == b"on"


async def test_closing_ends_the_processes(sandbox: Sandbox) -> None:
    pid = int(await sandbox.run(b"pid"))
    assert sandbox.pids == (pid,)
    await sandbox.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(ShuttingDown):
        await sandbox.run(b"echo")


async def test_processes_die_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        "from hayloft.sandbox import Sandbox\n"
        "async def main():\n"
        f"    sandbox = Sandbox({WORK!r}, processes=1)\n"
        "    print((await sandbox.run(b'pid')).decode(), flush=True)\n"
        "    await sandbox.run(b'hang')\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [child], 10)
    assert (len(gone), alive) == (1, [])
