"""docker-compose.yml: made from the table of roles, valid, and without a password that anybody knows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import check_jsonschema
import yaml
from jsonschema import Draft202012Validator

from hayloft.assembly.compose import compose, compose_yaml
from hayloft.assembly.settings import SETTINGS
from hayloft.assembly.topology import POSTGRES, RABBITMQ, ROLES, instances
from hayloft.cli.setting_flags import flags

ROOT = Path(__file__).parents[3]
SCHEMA = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"


def services() -> dict:
    return compose()["services"]


def test_the_file_is_fresh():
    told = "run: hayloft cluster compose > docker-compose.yml"
    assert (ROOT / "docker-compose.yml").read_text() == compose_yaml(), told


def test_it_is_what_the_compose_specification_allows():
    schema = json.loads(SCHEMA.read_text())
    parsed = yaml.safe_load(compose_yaml())
    assert list(Draft202012Validator(schema).iter_errors(parsed)) == []
    parsed["services"]["gateway"]["helthcheck"] = {}
    assert list(Draft202012Validator(schema).iter_errors(parsed)), "the check would find nothing"


def test_every_role_is_there_as_often_as_the_table_says():
    assert set(services()) == {POSTGRES, RABBITMQ, *(member.name for member in instances())}
    for role in ROLES:
        started = [each for each in services().values() if each.get("command") == [role.command]]
        assert len(started) == role.count
    assert set(SETTINGS) == {role.command for role in ROLES}


def test_every_variable_is_a_setting_of_its_role():
    for member in instances():
        known = {flag.variable for flag in flags(SETTINGS[member.role.command])}
        assert set(services()[member.name]["environment"]) <= known, member.name


def test_everything_has_a_health_check_and_what_is_kept_has_a_volume():
    volumes = compose()["volumes"]
    for name, service in services().items():
        assert service["healthcheck"]["test"], name
        for mounted in service.get("volumes", []):
            assert mounted.partition(":")[0] in volumes
    assert set(volumes) == {POSTGRES, RABBITMQ, *(m.name for m in instances() if m.role.keeps)}


def test_secrets_have_no_defaults():
    text = compose_yaml()
    for name in ("HAYLOFT_SECRET", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"):
        uses = re.findall(r"\$\{" + name + r"([^}]*)\}", text)
        assert uses
        assert all(use.startswith(":?") for use in uses), name
    for service in services().values():
        for variable, value in service["environment"].items():
            if re.search("SECRET|PASS", variable):
                assert value.startswith("${"), variable


def test_only_the_gateway_is_open_to_the_outside():
    assert [name for name, service in services().items() if "ports" in service] == ["gateway"]
    assert services()["gateway"]["ports"][0].startswith("${HAYLOFT_PUBLISH:-127.0.0.1:")


def test_the_image_is_built_from_what_is_there():
    dockerfile = (ROOT / "Dockerfile").read_text()
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for name in copied.split():
            assert (ROOT / name).exists(), name
            assert f"!{name}" in (ROOT / ".dockerignore").read_text()
