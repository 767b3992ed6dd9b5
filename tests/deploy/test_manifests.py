"""The rendered manifests: of the forms that Kubernetes and the custom resources have, and as policies want them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from .conftest import OVERLAYS, ROOT, containers, in_bytes, pods, rendered, rendered_text, tool

SCHEMAS = yaml.safe_load((ROOT / "deploy" / "k8s" / "schemas.yaml").read_text())
SKIP = re.compile(r"^checkov\.io/skip\d+$")


def key(manifest):
    return f"{manifest['apiVersion']}/{manifest['kind']}"


def test_every_built_in_object_holds_against_the_newest_kubernetes(overlay, manifests, tmp_path):
    built_in = [each for each in manifests if key(each) not in SCHEMAS]
    file = tmp_path / f"{overlay}.yaml"
    file.write_text(yaml.safe_dump_all(built_in))

    done = tool("kubernetes-validate", "--strict", "--quiet", "--no-warn", "-k", "1.37.0", str(file))

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_custom_resource_holds_against_its_schema(manifests):
    custom = [
        each
        for each in manifests
        if "." in each["apiVersion"] and not each["apiVersion"].split("/")[0].endswith(".k8s.io")
    ]
    custom += [each for each in manifests if each["apiVersion"].startswith("gateway.")]

    faults = [
        f"{key(each)} {each['metadata']['name']}: {error.message} at {error.instance_path}"
        for each in custom
        for error in jsonschema_rs.validator_for(SCHEMAS[key(each)]).iter_errors(each)
    ]

    assert not faults


def test_no_scaling_falls_back_where_keda_before_2_18_would_refuse_it(of_kind):
    for scaled in of_kind("ScaledObject"):
        types = {trigger.get("metricType") for trigger in scaled["spec"]["triggers"]}
        assert "fallback" not in scaled["spec"] or types == {"AverageValue"}, scaled["metadata"]["name"]


def test_each_schema_is_of_a_resource_that_is_used():
    used = {key(each) for overlay in OVERLAYS for each in rendered(overlay)}

    assert set(SCHEMAS) - {"definitions"} <= used


def test_every_component_is_in_an_overlay():
    there = {path.parent.name for path in (ROOT / "deploy" / "k8s" / "components").glob("*/kustomization.yaml")}
    taken = {
        name
        for path in (ROOT / "deploy" / "k8s").glob("*/*/kustomization.yaml")
        for name in re.findall(r"^ +- \.\./(?:\.\./components/)?([\w-]+)$", path.read_text(), re.M)
    }

    assert there == taken & there | {"service-pod"}


def test_no_policy_of_checkov_is_broken_and_no_exception_is_without_a_reason(tmp_path):
    for overlay in OVERLAYS:
        (tmp_path / f"{overlay}.yaml").write_text(rendered_text(overlay))

    done = tool(
        "checkov",
        "-d",
        str(tmp_path),
        "--framework",
        "kubernetes",
        "--compact",
        "--quiet",
        "--skip-download",
        "-o",
        "json",
    )

    found = json.loads(done.stdout)
    assert found["summary"]["resource_count"] > 100
    assert found["summary"]["parsing_errors"] == 0
    assert not [
        f"{each['check_id']} {each['resource']}: {each['check_name']}" for each in found["results"]["failed_checks"]
    ]


def test_every_exception_has_its_reason_in_the_manifest(manifests):
    exceptions = [
        (each["metadata"]["name"], text)
        for each in manifests
        for name, text in each["metadata"].get("annotations", {}).items()
        if SKIP.match(name)
    ]

    assert exceptions
    assert all(re.fullmatch(r"CKV_\w+=\S.{20,}", text) for _, text in exceptions), exceptions


def test_nothing_runs_as_root_nor_with_a_token_of_the_cluster(manifests):
    for manifest in manifests:
        for pod in pods(manifest):
            spec = pod["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["runAsUser"] > 0
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(manifest):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, container["name"]
            assert own["capabilities"]["drop"] == ["ALL"], container["name"]
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), container["name"]
            assert "memory" in container["resources"]["limits"], container["name"]


def test_whoever_keeps_data_has_its_files_changed_hands_only_once(manifests):
    stateful = [each["spec"]["template"]["spec"] for each in manifests if each["kind"] == "StatefulSet"]
    stateful += [
        made_by_operator(each) for each in manifests if each["kind"] in ("RabbitmqCluster", "MongoDBCommunity")
    ]

    assert stateful
    assert {pod["securityContext"].get("fsGroupChangePolicy") for pod in stateful} == {"OnRootMismatch"}


def made_by_operator(manifest):
    """Give what a custom resource says of the pods that its operator makes."""
    given = manifest["spec"].get("override", manifest["spec"])["statefulSet"]
    return given["spec"]["template"]["spec"]


def test_the_pods_that_operators_make_are_as_restricted_as_the_namespace_wants():
    namespace = next(each for each in rendered("production") if each["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    expected = {
        "RabbitmqCluster": {"rabbitmq", "setup-container"},
        "MongoDBCommunity": {"mongod", "mongodb-agent", "mongod-posthook", "mongodb-agent-readinessprobe"},
    }
    for manifest in rendered("production"):
        if manifest["kind"] in expected:
            pod = made_by_operator(manifest)
            parts = [*pod["containers"], *pod["initContainers"]]
            assert {each["name"] for each in parts} == expected[manifest["kind"]]
            for own in (each["securityContext"] for each in parts):
                assert {**pod["securityContext"], **own}["runAsNonRoot"] is True
                assert {**pod["securityContext"], **own}["seccompProfile"] == {"type": "RuntimeDefault"}
                assert own["allowPrivilegeEscalation"] is False
                assert own["capabilities"]["drop"] == ["ALL"]


def test_an_ingress_lets_large_and_slow_bodies_pass(of_kind):
    for ingress in (each for each in of_kind("Ingress") if each["metadata"]["name"] == "radbus"):
        nginx = {
            name.removeprefix("nginx.ingress.kubernetes.io/"): value
            for name, value in ingress["metadata"]["annotations"].items()
        }
        assert nginx["proxy-body-size"] == "0"
        assert nginx["proxy-request-buffering"] == "off"
        assert min(int(nginx["proxy-read-timeout"]), int(nginx["proxy-send-timeout"])) >= 600


def test_nothing_asks_for_more_than_its_limit_nor_is_evicted_for_its_logs(manifests):
    # A kubelet keeps five files of 10 MiB of a container's logs, which count as its ephemeral storage.
    logs = in_bytes("50Mi")
    for manifest in manifests:
        for container in containers(manifest):
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            above = {name for name, limit in limits.items() if in_bytes(requests.get(name, "0")) > in_bytes(limit)}
            assert not above, (manifest["metadata"]["name"], container["name"])
            assert in_bytes(limits.get("ephemeral-storage", "1Gi")) > logs, container["name"]


def test_nobody_is_given_rights_on_the_cluster(of_kind):
    assert not of_kind("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def test_everything_is_denied_that_no_policy_allows(of_kind):
    deny = next(each for each in of_kind("NetworkPolicy") if each["metadata"]["name"] == "default-deny")

    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_nothing_secret_is_in_the_manifests_of_a_site():
    for overlay in ("staging", "production"):
        assert not [each for each in rendered(overlay) if each["kind"] == "Secret"]


def test_the_made_manifests_are_as_the_code_makes_them():
    namespace: dict[str, object] = {
        "__file__": str(ROOT / "deploy/k8s/make_manifests.py"),
        "__name__": "make_manifests",
    }
    exec(compile(Path(ROOT / "deploy/k8s/make_manifests.py").read_text(), "make_manifests.py", "exec"), namespace)

    for path, text in namespace["made"]().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)}: run `make manifests`"


def test_nginx_takes_the_configuration_of_the_front(tmp_path):
    made = (ROOT / "deploy" / "k8s" / "components" / "front" / "nginx.conf").read_text()
    # Names of the cluster are not known here, and nothing listens.
    here = re.sub(r"server (?:ingest|router|scheduler|results):8080", "server 127.0.0.1:9", made)
    (tmp_path / "temporary").mkdir()
    (tmp_path / "nginx.conf").write_text(here)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"

    done = subprocess.run(
        [nginx, "-t", "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["ingest", "router", "scheduler", "worker", "results"])
def test_a_service_has_a_disruption_budget_and_is_spread(name):
    production = rendered("production")
    deployment = next(each for each in production if each["kind"] == "Deployment" and each["metadata"]["name"] == name)
    spec = deployment["spec"]["template"]["spec"]
    selector = deployment["spec"]["selector"]["matchLabels"]

    budgets = [each["spec"] for each in production if each["kind"] == "PodDisruptionBudget"]
    assert {"maxUnavailable": 1, "selector": {"matchLabels": selector}} in budgets
    assert spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == selector
    assert spec["affinity"]["podAntiAffinity"]
    assert deployment["spec"].get("replicas", 2) >= 2


def test_the_live_check_refuses_where_no_cluster_is_named():
    given = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}

    done = subprocess.run(
        [str(ROOT / "deploy/k8s/live.sh")], env=given, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert "expected KUBECONFIG to name the cluster; nothing was applied" in done.stderr
