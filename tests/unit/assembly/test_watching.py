"""How parts of a cluster are told to be, and what is shown of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

from hayloft.assembly.machine.watching import Condition, Observation, Part, observe, summary
from hayloft.assembly.topology import ROLES, Surroundings, instances, told
from hayloft.cli.cluster import Display
from hayloft.errors import RoleUnavailable
from hayloft.wire.asgi import send_json
from hayloft.wire.operations import Operated
from hayloft.wire.serving import AppServer, free_port


def part(address: str, *, pid: int | None, command: str = "store", own: bool = True) -> Part:
    return Part(
        name="s1",
        command=command,
        address=address,
        pid=pid,
        started_at_ms=time.time_ns() // 1_000_000 - 5000,
        restarts=2,
        own=own,
    )


async def store(scope, receive, send):
    assert scope["type"] == "http"
    await send_json(send, 200, {"store_id": "s1", "volumes": {"lv-1": 3, "lv-2": 4}}, "id")


async def fine():
    return None


async def broken():
    raise RoleUnavailable("No disk.")


async def condition_of(watched: Part) -> tuple[Condition, str]:
    (observation,) = await observe([watched])
    return observation.condition, observation.says


async def test_a_role_is_what_it_says():
    async with AppServer(Operated(store, role="store", ready=fine)) as server:
        told = await condition_of(part(server.url, pid=os.getpid()))
        assert told == (Condition.READY, "7 needles in 2 volumes")
    async with AppServer(Operated(store, role="store", ready=broken)) as server:
        told = await condition_of(part(server.url, pid=os.getpid()))
        assert told == (Condition.NOT_READY, "No disk.")


async def test_one_that_does_not_answer_is_silent_or_gone():
    nowhere = f"http://127.0.0.1:{free_port()}"
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    assert (await condition_of(part(nowhere, pid=os.getpid())))[0] is Condition.SILENT
    assert (await condition_of(part(nowhere, pid=ended.pid)))[0] is Condition.GONE
    assert (await condition_of(part(nowhere, pid=None)))[0] is Condition.GONE


async def test_what_is_no_service_is_what_its_process_is():
    assert (await condition_of(part("127.0.0.1:1", pid=os.getpid())))[0] is Condition.READY
    assert (await condition_of(part("127.0.0.1:1", pid=None)))[0] is Condition.GONE
    outside = await condition_of(part("db:5432", pid=None, own=False))
    assert outside == (Condition.READY, "started by others")


def test_a_part_survives_its_file():
    original = part("http://x", pid=7)
    assert Part.from_json(original.to_json()) == original


def test_every_role_is_summed_up_whatever_it_says():
    for role in ROLES:
        assert isinstance(summary(role.command, {}), str)
    assert summary("directory", {"mode": "primary", "uploads_refused": ""}) == "primary"
    assert "No room." in summary("directory", {"mode": "primary", "uploads_refused": "No room."})


def test_ports_and_names_of_all_are_different():
    members = instances({"store": 5, "cache": 3, "directory": 3})
    assert (
        len({member.port for member in members}) == len({member.name for member in members}) == len(members)
    )


def test_everybody_is_told_where_the_others_are():
    members = instances()
    around = Surroundings(
        members=members,
        url_of=lambda member: f"http://{member.name}",
        database_url="postgresql://db",
        broker_url="amqp://mq",
    )
    environments = {member.name: told(member, around) for member in members}
    assert environments["gateway"]["HAYLOFT_DIRECTORIES"] == '["http://directory-1", "http://directory-2"]'
    assert environments["gateway"]["HAYLOFT_CACHES"] == '["http://cache-1", "http://cache-2"]'
    assert "HAYLOFT_DATABASE_URL" not in environments["gateway"]
    assert environments["directory-2"]["HAYLOFT_MODE"] == "replica"
    assert environments["s2"]["HAYLOFT_STORE_ID"] == "s2"
    assert environments["cache-1"]["HAYLOFT_ADVERTISED_URL"] == "http://cache-1"


def test_what_changes_is_printed_once_where_there_is_no_terminal(capsys):
    def seen(condition: Condition, says: str = "") -> list[Observation]:
        watched = part("http://g", pid=1, command="gateway")
        return [Observation(part=watched, condition=condition, says=says)]

    display = Display("d")
    with display:
        for observations in (
            seen(Condition.SILENT),
            seen(Condition.SILENT),
            seen(Condition.NOT_READY, "No store answers."),
            seen(Condition.READY),
            seen(Condition.READY),
        ):
            display.show(observations)
    assert capsys.readouterr().out.splitlines() == [
        "s1 http://g silent",
        "s1 http://g not ready: No store answers.",
        "s1 http://g ready",
        "The cluster is ready at http://g; its data is in d.",
    ]


def test_where_no_cluster_runs_status_says_so(tmp_path):
    command = [sys.executable, "-m", "hayloft", "cluster", "status", "--data", str(tmp_path / "nothing")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 3
    assert "No cluster runs" in ran.stderr
