"""Metrics are named alike and listed; each alert has its place in the runbook; each query asks for what there is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from radbus_contracts import topology

from tests.monitoring import MONITORING, OF_KUBE_STATE_METRICS, ROOT, alerts, asked_for, queries, recorded

PROMTOOL = shutil.which("promtool")
RULES = sorted((MONITORING / "rules").glob("*.yaml"))
UNITS = ("_seconds", "_bytes", "_total")
# What counts things, or says yes or no, has the thing for its unit.
COUNTS = {
    "radbus_ready",
    "radbus_dead_letters",
    "radbus_queue_messages",
    "radbus_webhook_deliveries_waiting",
    "radbus_ingest_requests_in_flight",
    "radbus_admission_load",
    "radbus_admission_refusing",
    "radbus_admission_institutions_refused",
    "radbus_tasks",
    "radbus_worker_slots",
    "radbus_worker_slots_busy",
}
LABELS = {
    *("stage", "machine", "service", "method", "route", "status", "queue", "outcome", "exchange", "check", "what"),
    *("collection", "dialect", "again", "reason", "because", "of", "scope", "state", "pool", "priority", "use_case"),
    *("why", "result", "triage"),
}
"""Each has few values, which the code or a site's own files name."""


def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def labels_by_name() -> dict[str, set[str]]:
    """The labels of every series of radbus's own metrics, by its whole name."""
    made = generate()
    found: dict[str, set[str]] = {}
    for _, module in made.METRICS:
        for metric in made.metrics_of(module):
            family, labels = next(iter(metric.describe())), set(metric._labelnames)
            ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
            for end in ends:
                found[f"{family.name}{end}"] = labels | ({"le"} if end == "_bucket" else set())
    return found


def test_the_page_of_metrics_is_made_from_the_code():
    assert generate().metrics_page() == (ROOT / "docs" / "metrics.md").read_text(), "run `make docs`"


def test_every_metric_of_the_code_is_on_the_page():
    spelled = {
        name
        for folder in ("libs", "services")
        for path in (ROOT / folder).glob("**/metrics.py")
        for name in re.findall(r'"(radbus_\w+)"', path.read_text())
    }
    elsewhere = [
        path
        for folder in ("libs", "services")
        for path in (ROOT / folder).glob("*/src/**/*.py")
        if path.name != "metrics.py"
        and re.search(r"from prometheus_client import .*(Counter|Histogram)", path.read_text())
    ]
    page = (ROOT / "docs" / "metrics.md").read_text()

    assert len(spelled) > 30
    assert not [name for name in spelled if f"`{name}`" not in page]
    assert not elsewhere, "one place of each service spells its metrics"


def test_metrics_are_named_by_the_conventions_of_prometheus_and_their_labels_have_few_values(labels_by_name):
    for name, labels in labels_by_name.items():
        base = re.sub(r"_(bucket|sum|count)$", "", name)

        assert re.fullmatch(r"radbus(_[a-z]+)+", base)
        assert base.endswith(UNITS) or base in COUNTS, name
        assert labels - {"le"} <= LABELS, name


def test_every_query_asks_for_metrics_that_there_are_by_labels_that_they_have(labels_by_name):
    known = labels_by_name | OF_KUBE_STATE_METRICS
    for where, name, labels in asked_for():
        if name in known:
            assert labels <= known[name] | {"instance"}, f"{where}: {name}"
        else:
            assert name in recorded() or name.startswith("nv_inference_"), f"{where}: {name}"


def test_every_metric_of_the_database_is_asked_for_so_that_several_replicas_are_as_one():
    alike = re.compile(
        r"(radbus_tasks|radbus_worker_slots|radbus_oldest\w+|radbus_queue_messages|radbus_dead_letters)\b(?!_)"
    )

    for where, query in queries():
        for found in alike.finditer(query):
            before = query[: found.start()]
            assert re.search(r"max(?: by \([\w, ]+\))? ?\($", before), f"{where}: {query}"


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_urgent_it_is_what_happened_and_where_the_runbook_is(name):
    alert = alerts()[name]

    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["for"]
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    promql.parse(alert["expr"])


def test_each_alert_has_its_place_in_the_runbook_and_the_runbook_no_other():
    places = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)

    assert sorted(places) == sorted(alerts())


def test_the_runbook_says_of_each_alert_whether_it_pages_and_what_to_do():
    text = (ROOT / "docs" / "runbook.md").read_text()

    for name, alert in alerts().items():
        part = text.partition(f"## {name}\n\n")[2].partition("\n## ")[0]
        assert part.startswith("*Page.*" if alert["labels"]["severity"] == "page" else "*Ticket.*"), name


@pytest.fixture(scope="module")
def shown_at_first() -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """What services show that have been put together and have done nothing yet, as name and labels."""
    start = "import sys; sys.path.insert(0, 'docs'); import generate; generate.open_api_documents()"
    show = "from prometheus_client import generate_latest; print(generate_latest().decode())"
    done = subprocess.run(
        [sys.executable, "-c", f"{start}; {show}"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    families = text_string_to_metric_families(done.stdout)
    return {(each.name, frozenset(each.labels.items())) for family in families for each in family.samples}


def test_a_failure_that_an_alert_counts_is_shown_before_the_first_one(shown_at_first):
    counters = {name for where, name, _ in asked_for() if where in alerts() and name.endswith("_total")}
    # Use cases come with their jobs: the scheduler shows them while a job of theirs runs.
    expected = {name for name in counters if name.startswith("radbus_")} - {"radbus_jobs_ended_total"}

    assert len(expected) >= 4
    assert expected <= {name for name, _ in shown_at_first}


def test_every_reason_exchange_and_collection_is_shown_before_the_first_failure(shown_at_first):
    def values(metric: str, label: str) -> set[str]:
        return {dict(labels)[label] for name, labels in shown_at_first if name == metric}

    assert values("radbus_attempts_given_up_total", "pool") == {"default"}
    assert {"given back", "its worker was lost", "took longer than 120 s", "no worker took it in 30 s"} <= values(
        "radbus_attempts_given_up_total", "why"
    )
    assert {topology.EVENTS, topology.TASKS, ""} <= values("radbus_publish_failures_total", "exchange")
    assert {"jobs", "routings", "series", "cases"} <= values("radbus_outbox_swept_total", "collection")


def test_the_runbook_says_beside_each_command_of_one_machine_what_to_do_on_kubernetes():
    text = (ROOT / "docs" / "runbook.md").read_text()

    for part in text.split("\n## ")[2:]:
        for command in re.finditer(r"`radbus (?:doctor|logs)\b", part):
            assert "(#on-kubernetes)" in part[command.start() : command.start() + 120], part


def test_the_objectives_are_bounds_of_the_histogram_that_measures_them(labels_by_name):
    from radbus_results.adapters.metrics import accepted_to_result_seconds  # noqa: PLC0415

    bounds = {str(bound) for bound in accepted_to_result_seconds._upper_bounds}
    asked = {bound for _, query in queries() for bound in re.findall(r'le="([\d.]+)"', query)}

    assert asked
    assert asked <= bounds


def test_the_dashboards_are_made_from_the_code(tmp_path):
    subprocess.run([sys.executable, str(MONITORING / "make_dashboards.py"), str(tmp_path)], check=True)

    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in (MONITORING / "dashboards").glob("*.json")}, (
        "run `make docs`"
    )


def test_a_dashboard_has_an_id_of_its_own_and_panels_that_do_not_lie_on_one_another():
    boards = [json.loads(path.read_text()) for path in sorted((MONITORING / "dashboards").glob("*.json"))]

    assert len({board["uid"] for board in boards}) == len(boards) == 5
    for board in boards:
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
        assert len(places) == len(board["panels"])
        assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])


def promtool(*arguments: str | Path) -> None:
    if PROMTOOL is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("promtool is not installed: run `make install`")
    done = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_itself_takes_the_rules():
    promtool("check", "rules", *RULES)


def test_each_alert_is_seen_to_fire():
    tests = yaml.safe_load(Path(__file__).with_name("alerts_test.yaml").read_text().replace("[RULES]", "[]"))["tests"]

    fired = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each["exp_alerts"]}
    assert fired == set(alerts())


def test_the_alerts_fire_when_they_should_and_only_then(tmp_path):
    written = (Path(__file__).with_name("alerts_test.yaml")).read_text()
    given = tmp_path / "alerts.yaml"
    given.write_text(written.replace("[RULES]", json.dumps([str(path) for path in RULES])))

    promtool("test", "rules", given)
