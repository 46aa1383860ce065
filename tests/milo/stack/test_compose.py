"""docker-compose.yml runs what `milo up` runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from milo.settings import Settings
from milo.stack.services import Service, all_services

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
SETTINGS = Settings(
    home=Path("/data"), host="0.0.0.0", flower_host="0.0.0.0", status_host="0.0.0.0", redis_port=6379, _env_file=None
)
NAMES = [service.name for service in all_services(SETTINGS)]


def of_stack(name: str) -> Service:
    return next(s for s in all_services(SETTINGS, hostname=name) if s.name == name)


def command_of(name: str) -> list[str]:
    """The command as compose would run it with an empty .env."""
    return [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in SERVICES[name]["command"]]


def test_both_lists_name_the_same_services() -> None:
    assert sorted(SERVICES) == sorted(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "redis"])
def test_the_commands_are_the_same(name: str) -> None:
    assert command_of(name) == list(of_stack(name).command)


def test_redis_runs_with_the_same_durability() -> None:
    def options(command: list[str]) -> dict[str, str]:
        assert command[0] == "redis-server" and command[1].endswith("/redis.conf"), "the password is in a file"
        return dict(zip(command[2::2], command[3::2], strict=True))

    ours, theirs = options(list(of_stack("redis").command)), options(command_of("redis"))
    for only_a_place in ("--bind", "--dir"):
        ours.pop(only_a_place, None)
        theirs.pop(only_a_place, None)
    assert theirs == ours
    assert theirs["--appendonly"] == "yes" and theirs["--maxmemory-policy"] == "noeviction"


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_of_the_stack_is_there(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    assert of_stack(name).env.items() <= environment.items()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "redis"])
def test_every_variable_is_a_setting_or_known(name: str) -> None:
    known = {f"MILO_{field.upper()}" for field in Settings.model_fields}
    known |= {"MILO_WORKER_NODE", "PROMETHEUS_MULTIPROC_DIR", "PYTHONUNBUFFERED", *of_stack(name).env}
    assert set(SERVICES[name]["environment"]) <= known


@pytest.mark.parametrize("name", [name for name in NAMES if name != "redis"])
def test_production_needs_a_real_key(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment["MILO_ENV"] == "production"
    assert environment["MILO_API_KEY"].startswith("${MILO_API_KEY:?")


def test_only_the_api_is_reachable_from_outside() -> None:
    published = {name: port for name, service in SERVICES.items() for port in service.get("ports", [])}
    outside = [name for name, port in published.items() if not port.startswith("127.0.0.1:")]
    assert outside == ["api"] and set(published) == {"api", "flower", "status"}


def test_the_worker_with_the_gpu_reserves_one() -> None:
    device = SERVICES["gpu"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert all("deploy" not in service for name, service in SERVICES.items() if name != "gpu")


def test_workers_get_longer_to_stop_than_the_stack_gives_them() -> None:
    for name in ("gpu", "cpu", "archive"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > of_stack(name).stop_s


def test_the_image_runs_without_root_and_holds_no_secret() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER (?!root)\w+$", dockerfile, re.MULTILINE)
    assert not re.search(r"API_KEY|TOKEN|SECRET|\.env\b", dockerfile)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*" and "!.env" not in ignored


@pytest.mark.parametrize("name", NAMES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and not any("docker.sock" in volume for volume in service["volumes"])
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    if name == "redis":
        assert not service["user"].startswith(("0", "root"))


def test_redis_asks_for_a_password_that_no_command_line_holds() -> None:
    assert COMPOSE["configs"]["redis.conf"]["content"].startswith("requirepass ${MILO_REDIS_PASSWORD:?")
    assert "MILO_REDIS_PASSWORD" not in str([service["command"] for service in SERVICES.values()])
    for name in NAMES:
        if name != "redis":
            url = SERVICES[name]["environment"]["MILO_REDIS_URL"]
            assert url.startswith("redis://:${MILO_REDIS_PASSWORD:?") and url.endswith("@redis:6379/0")


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for found in re.findall(r"\$\{(\w*(?:KEY|PASSWORD|SECRET|TOKEN)\w*)(:?[?-]?)", text):
        assert found[1] == ":?", f"{found[0]} has a default"
