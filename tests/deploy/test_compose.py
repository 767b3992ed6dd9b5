"""The file for Docker on one machine."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from radbus_ingest.settings import IngestSettings
from radbus_results.settings import ResultsSettings
from radbus_router.settings import RouterSettings
from radbus_scheduler.settings import SchedulerSettings
from radbus_worker.settings import WorkerSettings

from .conftest import OVERLAYS, ROOT, containers, given_on_the_local_stack, rendered

COMPOSE = ROOT / "deploy" / "compose"
FILE = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES = FILE["services"]
SETTINGS = {
    "ingest": IngestSettings,
    "router": RouterSettings,
    "scheduler": SchedulerSettings,
    "worker": WorkerSettings,
    "results": ResultsSettings,
}
# Of the Compose Specification, those that are used here.
KEYS = {
    *("build", "cap_add", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "hostname"),
    *("image", "logging", "network_mode", "networks", "ports", "profiles", "read_only", "restart", "security_opt"),
    *("shm_size", "stop_grace_period", "tmpfs", "user", "volumes", "working_dir"),
}
ENDS_BY_ITSELF = {"models", "radbus"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_only_keys_that_compose_knows_and_is_bounded(name):
    service = SERVICES[name]

    assert set(service) <= KEYS
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert name in ENDS_BY_ITSELF or service["healthcheck"]["test"][0] == "CMD"
    assert name in ENDS_BY_ITSELF or service["restart"] == "unless-stopped"


def test_only_loopback_is_listened_on():
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", []))


def test_what_is_named_is_there():
    for service in SERVICES.values():
        networks = service.get("networks", [])
        assert set(networks) <= set(FILE["networks"])
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in FILE["volumes"] or (COMPOSE / source).exists() or volume == "/scratch", volume
        if "build" in service:
            assert (COMPOSE / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_settings_of_a_service_are_ones_that_it_reads(name, monkeypatch):
    fields = SETTINGS[name].model_fields
    dockerfile = (ROOT / "services" / name / "Dockerfile").read_text()
    given = {each for each in SERVICES[name]["environment"] if each.startswith("RADBUS_")}
    given |= set(re.findall(r"(RADBUS_\w+)=", dockerfile))

    assert {each.removeprefix("RADBUS_").lower() for each in given} <= set(fields)
    assert {f"RADBUS_{each.upper()}" for each, field in fields.items() if field.is_required()} <= given


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_is_given_what_the_local_stack_gives_it(name):
    dockerfile = (ROOT / "services" / name / "Dockerfile").read_text()
    given = {*SERVICES[name]["environment"], *re.findall(r"(RADBUS_\w+)=", dockerfile)}

    assert given_on_the_local_stack(SETTINGS[name]) <= {each.removeprefix("RADBUS_").lower() for each in given}


def test_no_password_is_in_the_file_and_each_is_made_by_the_script(tmp_path):
    (tmp_path / "secrets.sh").write_bytes((COMPOSE / "secrets.sh").read_bytes())

    subprocess.run(["bash", str(tmp_path / "secrets.sh")], check=True, timeout=20)

    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert set(made) == set(re.findall(r"\$\{(\w+):\?", (COMPOSE / "compose.yaml").read_text()))
    assert all(len(value) >= 32 for value in made.values())
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    # What a later release needs is added, and nothing else changes.
    (tmp_path / ".env").write_text(
        "\n".join(f"{name}={value}" for name, value in made.items() if name != "WEBHOOK_KEY")
    )
    subprocess.run(["bash", str(tmp_path / "secrets.sh")], check=True, timeout=20)
    again = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert again == made | {"WEBHOOK_KEY": again["WEBHOOK_KEY"]}
    secret = re.compile(r"(PASSWORD|SECRET_KEY|ACCESS_KEY|PATIENT_KEY|WEBHOOK_KEY|_PASS)$")
    told = [(n, v) for s in SERVICES.values() for n, v in (s.get("environment") or {}).items() if secret.search(n)]
    assert told
    assert all("${" in value or name.endswith(("S3_ACCESS_KEY", "AWS_ACCESS_KEY_ID")) for name, value in told)


def test_the_images_are_those_of_the_cluster():
    on_cluster = {c["image"] for overlay in OVERLAYS for each in rendered(overlay) for c in containers(each)}
    ours = {service["image"] for name, service in SERVICES.items() if "build" in service}
    others = {service["image"] for service in SERVICES.values()} - ours

    assert others <= on_cluster
    assert {each.partition(":")[2] for each in ours} == {"0.1.0"}


def test_both_stores_are_reached_by_the_name_that_the_services_know():
    for name in ("seaweedfs", "minio"):
        assert SERVICES[name]["networks"]["inside"]["aliases"] == ["s3"]
        assert SERVICES[name]["profiles"] == [name]
    assert SERVICES["ingest"]["environment"]["RADBUS_S3_URL"] == "http://s3:9000"
