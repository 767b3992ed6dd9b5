"""What `radbus.sh` runs on a cluster: which image, with whose settings and secrets, and what is left of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT, Manifest, rendered, tool

DIGEST = f"@sha256:{'0' * 64}"
RESTORE = ("restore", "s3://radbus-backups/nightly", "--backup", "20261101T013000000000Z")
# It answers with what was rendered, and keeps what is created.
KUBECTL = """#!/usr/bin/env bash
here="$(dirname "${BASH_SOURCE[0]}")"
echo "${*:3}" >>"$here/asked"
case "$3 $4" in
"get deployment") cat "$here/deployment.json" ;;
"get cronjob") cat "$here/cronjob.json" ;;
"get pods") cat "$here/phase" ;;
create*) cat >"$here/created.json" ;;
logs*) echo "what it said" ;;
esac
"""


class Cluster:
    """A folder with the script, and a kubectl that knows the objects of an overlay."""

    def __init__(self, root: Path, overlay: str) -> None:
        self._script = root / "deploy" / "k8s" / "radbus.sh"
        self._here = root / ".local" / "k8s-venv" / "bin"
        self._script.parent.mkdir(parents=True)
        self._here.mkdir(parents=True)
        shutil.copy(ROOT / "deploy" / "k8s" / "radbus.sh", self._script)
        (self._here / "kubectl").write_text(KUBECTL)
        (self._here / "kubectl").chmod(0o755)
        self.deployment = named(overlay, "Deployment", "results")
        self.backup = named(overlay, "CronJob", "backup")
        self.phase = "Succeeded"

    def run(self, *arguments: str, image: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command; what was created and asked for stays."""
        (self._here / "deployment.json").write_text(json.dumps(self.deployment))
        (self._here / "cronjob.json").write_text(json.dumps(self.backup) if self.backup else "")
        (self._here / "phase").write_text(self.phase)
        given = {"PATH": os.environ["PATH"], **({"RADBUS_CLI_IMAGE": image} if image else {})}
        return subprocess.run(
            [str(self._script), *arguments], env=given, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def created(self) -> Manifest | None:
        """The job that was created."""
        file = self._here / "created.json"
        return json.loads(file.read_text()) if file.exists() else None

    @property
    def deleted(self) -> bool:
        """Whether the job was removed again."""
        return bool(re.search(r"^delete job radbus-\d+", (self._here / "asked").read_text(), re.M))


def named(overlay: str, kind: str, name: str) -> Manifest | None:
    found = (each for each in rendered(overlay) if each["kind"] == kind and each["metadata"]["name"] == name)
    each = next(found, None)
    return json.loads(json.dumps(each)) if each else None  # one of its own, to be changed


@pytest.fixture
def cluster(overlay, tmp_path) -> Cluster:
    return Cluster(tmp_path, overlay)


@pytest.fixture
def production(tmp_path) -> Cluster:
    return Cluster(tmp_path, "production")


def holds(job: Manifest, folder: Path) -> None:
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    done = tool("kubernetes-validate", "--strict", "--quiet", "--no-warn", "-k", "1.37.0", str(folder / "job.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_command_has_the_settings_and_secrets_of_results_and_leaves_nothing(cluster, tmp_path):
    done = cluster.run("tokens", "create", "north hospital")

    assert (done.returncode, done.stdout) == (0, "what it said\n"), done.stderr
    holds(cluster.created, tmp_path)
    pod = cluster.created["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (service,) = cluster.deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["tokens", "create", "north hospital"]
    assert (container["env"], container["envFrom"]) == (service["env"], service["envFrom"])
    assert pod["metadata"]["labels"] == {"radbus/service": "command"}
    assert container["image"] == service["image"].replace("results", "cli")
    assert cluster.deleted


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_a_restore_has_what_the_nightly_backup_has_and_the_broker_and_goes_on_by_itself(cluster, overlay, tmp_path):
    done = cluster.run(*RESTORE)

    assert (done.returncode, done.stdout) == (0, "what it said\n"), done.stderr
    holds(cluster.created, tmp_path)
    spec, nightly = cluster.created["spec"], cluster.backup["spec"]["jobTemplate"]["spec"]["template"]
    (container,) = spec["template"]["spec"]["containers"]
    make = nightly["spec"]["initContainers"][0]
    broker = [e for e in cluster.deployment["spec"]["template"]["spec"]["containers"][0]["env"] if "AMQP" in e["name"]]
    assert container["args"] == list(RESTORE)
    assert container["env"] == make["env"] + broker
    assert len(broker) == 1
    assert {"RADBUS_BACKUP_S3_SECRET_KEY", "RADBUS_MONGO_URL"} <= {each["name"] for each in container["env"]}
    assert all(container[same] == make[same] for same in ("image", "envFrom", "volumeMounts", "securityContext"))
    assert "initContainers" not in spec["template"]["spec"]
    assert spec["template"]["spec"]["volumes"] == nightly["spec"]["volumes"]
    way_out = named(overlay, "NetworkPolicy", "backup-to-its-store")["spec"]["podSelector"]["matchLabels"]
    assert way_out.items() <= spec["template"]["metadata"]["labels"].items()
    assert "activeDeadlineSeconds" not in spec
    assert spec["backoffLimit"] == 0  # what is refused once is refused again
    assert not cluster.deleted


def test_a_command_that_fails_is_said_to_have_failed(production):
    production.phase = "Failed"

    assert production.run("doctor").returncode == 1
    assert production.run(*RESTORE).returncode == 1


def test_an_image_by_digest_is_taken_whole_from_the_nightly_backup(production):
    production.backup["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] = (
        f"a:5000/cli{DIGEST}"
    )
    production.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = f"a:5000/results{DIGEST}"

    for command in (("doctor",), RESTORE):
        assert production.run(*command).returncode == 0
        assert production.created["spec"]["template"]["spec"]["containers"][0]["image"] == f"a:5000/cli{DIGEST}"


@pytest.mark.parametrize(
    ("results", "cli"),
    [
        ("radbus-results:0.1.0", "radbus-cli:0.1.0"),
        (f"a:5000/results/results:0.1.0{DIGEST}", "a:5000/results/cli:0.1.0"),
    ],
)
def test_where_no_backup_is_made_the_image_is_that_of_the_tag_of_results(production, results, cli):
    production.backup = None
    production.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = results

    assert production.run("doctor").returncode == 0
    assert production.created["spec"]["template"]["spec"]["containers"][0]["image"] == cli


def test_an_image_that_cannot_be_known_has_to_be_named_and_a_restore_wants_the_keys_of_the_backups(production):
    production.backup = None
    production.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = f"a:5000/results{DIGEST}"

    unknown, keyless = production.run("doctor"), production.run(*RESTORE, image="radbus-cli:1")

    assert (unknown.returncode, keyless.returncode) == (1, 1)
    assert "expected RADBUS_CLI_IMAGE" in unknown.stderr
    assert "expected the CronJob backup" in keyless.stderr
    assert production.created is None
    assert production.run("doctor", image="radbus-cli:1").returncode == 0
    assert production.created["spec"]["template"]["spec"]["containers"][0]["image"] == "radbus-cli:1"
