"""The examples of docs/HTTP.md, run by a shell with curl against a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sklearn

PAGE = Path(__file__).parents[2] / "docs" / "HTTP.md"
PHOTOS = Path(sklearn.__file__).parent / "datasets" / "images"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are for curl")
def test_the_examples_do_what_they_say(start_server, tmp_path):
    server = start_server()
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    folder = tmp_path / "examples"
    folder.mkdir()
    shutil.copy(PHOTOS / "china.jpg", folder / "rose.jpg")
    shutil.copy(PHOTOS / "flower.jpg", folder / "lily.jpg")
    script = "\n".join(blocks)
    assert "http://127.0.0.1:8080" in script
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("http://127.0.0.1:8080", server.url)],
        cwd=folder,
        env={**os.environ, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran
    assert (folder / "original.jpg").read_bytes() == (PHOTOS / "china.jpg").read_bytes()
    assert (folder / "first-100-bytes").read_bytes() == (PHOTOS / "china.jpg").read_bytes()[:100]
    assert (folder / "thumb.webp").read_bytes()[8:12] == b"WEBP"
    assert '"relation":"duplicate"' in ran.stdout
    assert ran.stdout.rstrip().endswith('"failed_replicas":[]}')
