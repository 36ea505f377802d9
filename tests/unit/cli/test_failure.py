"""Every error ends as a sentence with what to do next and its own exit code, never as a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from doubles.gateway import answering, threaded_gateway
from hayloft.cli.failure import Complaint, ExitCode, advice_of, exit_code_of, sentence_of
from hayloft.client import ServerUnreachable
from hayloft.errors import ERRORS_BY_CODE, PhotoNotFound


@pytest.mark.parametrize("code", ERRORS_BY_CODE)
def test_every_error_of_the_server_has_an_exit_code_and_a_sentence(hayloft, gateway, code):
    kind = ERRORS_BY_CODE[code]
    gateway.faults["/stats"].append(answering(kind.status, code, "It went wrong."))
    ran = hayloft("stats")
    assert ran.code == exit_code_of(kind())
    assert ran.code not in (ExitCode.OK, ExitCode.PARTLY, ExitCode.USAGE, ExitCode.UNREACHABLE)
    assert ran.err.startswith("hayloft: It went wrong.\n")
    assert ran.out == ""


def test_local_errors():
    assert exit_code_of(PermissionError(13, "Permission denied", "/data")) == ExitCode.LOCAL
    assert sentence_of(PermissionError(13, "Permission denied", "/data")) == "/data: Permission denied."
    assert exit_code_of(ServerUnreachable()) == ExitCode.UNREACHABLE
    assert "hayloft serve" in advice_of(ServerUnreachable())
    assert exit_code_of(Complaint("no", code=ExitCode.LOCAL)) == ExitCode.LOCAL
    assert "hayloft ls" in advice_of(PhotoNotFound())


def test_keys_come_from_the_environment(hayloft, monkeypatch):
    with threaded_gateway(api_key="open sesame") as double:
        monkeypatch.setenv("HAYLOFT_URL", double.url)
        assert hayloft("ls").code == ExitCode.UNAUTHORIZED
        monkeypatch.setenv("HAYLOFT_API_KEY", "open sesame")
        assert hayloft("ls").code == ExitCode.OK


@pytest.mark.parametrize("arguments", [["ls"], ["get", "5"], ["stats"], ["links"], ["similar", "5"]])
def test_no_server(hayloft, arguments):
    ran = hayloft(*arguments, "--url", "http://127.0.0.1:9")
    assert ran.code == ExitCode.UNREACHABLE
    sentence = "hayloft: No Hayloft server answers at http://127.0.0.1:9: connection refused.\n"
    assert ran.err.startswith(sentence)


def test_an_address_that_is_none(hayloft):
    ran = hayloft("ls", "--url", "localhost:8080")
    assert ran.code == ExitCode.REFUSED
    assert "no server's address" in ran.err


@pytest.mark.parametrize("arguments", [["what"], ["ls", "--what"], ["get"], ["put", "-P", "0", "."]])
def test_usage(hayloft, arguments):
    assert hayloft(*arguments).code == ExitCode.USAGE


def test_the_module_is_the_program():
    done = subprocess.run(
        [sys.executable, "-m", "hayloft", "--help"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert "Usage: hayloft" in done.stdout


def test_help_imports_nothing_heavy():
    program = (
        "import sys; sys.argv = ['hayloft', 'ls', '--help']\n"
        "from hayloft.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'fastapi', 'numpy', 'cv2', 'sqlalchemy', 'uvicorn', 'PIL'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_completion_of_commands():
    program = "from hayloft.cli import main; import sys; sys.argv = ['hayloft']; main()"
    environment = {"_HAYLOFT_COMPLETE": "complete_bash", "COMP_WORDS": "hayloft li", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split() == ["links"]
