"""A real server as a subprocess, and a client that sees every byte of its answers.

``Server`` starts ``hayloft serve`` on a free port and ends only its own processes. Requests go through
``http.client``: nothing is retried, followed or decoded.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

START_SECONDS_MAX = 90.0


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code; checks on the way that the body has an error's shape."""
        told = self.json
        assert set(told) >= {"code", "message", "request_id"}, told
        assert told["message"]
        assert told["request_id"] == self.headers["x-request-id"]
        return told["code"]


class Server:
    """``hayloft serve`` on ``data``; settings by their names in the environment, without the prefix."""

    def __init__(self, data: Path, *, workers: int = 1, port: int = 0, **settings: object) -> None:
        self.data = data
        self.log_path = data.parent / f"{data.name}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HAYLOFT_")},
            "HAYLOFT_DATA": str(data),
            "HAYLOFT_PORT": str(port),
            "HAYLOFT_WORKERS": str(workers),
            "HAYLOFT_VOLUME__FREE_SPACE_RESERVE_BYTES": "0",
            **{f"HAYLOFT_{name}": str(value) for name, value in settings.items()},
        }
        self.process: subprocess.Popen[str] | None = None
        self.address = ("", 0)

    # Its life ------------------------------------------------------------------------------------

    def start(self) -> Server:
        """Start it and wait until it serves."""
        self.spawn()
        self.wait_until_serving()
        return self

    def spawn(self) -> None:
        """Start it, in a process group of its own."""
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hayloft.assembly.serve"],
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                text=True,
            )

    def wait_until_serving(self) -> None:
        """Wait for what it prints once it serves."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if found := re.search(r"at http://([\d.]+):(\d+)/docs", self.log):
                self.address = (found[1], int(found[2]))
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"the server did not start:\n{self.log}")

    def signal(self, number: int) -> None:
        """Send the supervisor a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 60.0) -> int:
        """Wait until it has ended; its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Stop it as Ctrl-C does."""
        assert self.process is not None
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL to the whole process group, like a power cut for processes."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def children(self) -> dict[str, int]:
        """Process ids of the children by the end of their module's name: ``worker``, ``ingest``."""
        assert self.process is not None
        found = {}
        for directory in Path("/proc").iterdir():
            if not directory.name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError):  # it may end meanwhile
                parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid:
                    module = (directory / "cmdline").read_text().split("\0")[2]
                    found[module.rpartition(".")[2]] = int(directory.name)
        return found

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    # Talking to it -------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        **headers: str,
    ) -> Reply:
        """One request on a connection of its own; header names are written with underscores."""
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, self.path_of(path), body=body, headers=named)
            answer = connection.getresponse()
            received = answer.read()
            lowered = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, lowered, received)
        finally:
            connection.close()

    def path_of(self, address: str) -> str:
        return address.removeprefix(self.url)

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, **headers)

    def delete(self, path: str) -> Reply:
        return self.request("DELETE", path)

    def post_json(self, path: str, value: object) -> Reply:
        return self.request("POST", path, json.dumps(value).encode(), content_type="application/json")

    def upload(
        self, data: bytes, *, name: str = "", media_type: str = "image/jpeg", **headers: str
    ) -> Reply:
        """Upload a raw body."""
        path = f"/upload?name={name}" if name else "/upload"
        return self.request("POST", path, data, content_type=media_type, **headers)

    def upload_files(self, *files: tuple[str, bytes], field: str = "file", path: str = "/upload") -> Reply:
        """Upload a multipart body."""
        body, content_type = multipart(*files, field=field)
        return self.request("POST", path, body, content_type=content_type)

    def socket(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self.address, timeout=60)


def multipart(*files: tuple[str, bytes], field: str = "file") -> tuple[bytes, str]:
    """A multipart body and its content type."""
    boundary = "b0undary-that-is-in-no-photo"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def picture(seed: int, *, side: int = 64, kind: str = "JPEG") -> bytes:
    """A small picture, another one for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()
