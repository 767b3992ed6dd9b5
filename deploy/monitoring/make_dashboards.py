"""Writes the Grafana dashboards into a folder, from what is shown on each: title, unit and queries (`make docs`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from panels import Panel, dashboard, quantile, rate, stage


def _each(metric: str) -> str:
    return f"{rate(metric, 'model')} / {rate('nv_inference_request_success', 'model')}"


_ACCEPTED = '{service="ingest", method="POST"}'
_FAILED = '{service="ingest", method="POST", status=~"5.."}'

DASHBOARDS: dict[str, tuple[str, Sequence[Panel]]] = {
    "overview": (
        "radbus: overview and objectives",
        (
            Panel(
                "Accepted to result, p95 of an hour",
                "s",
                [("use_case:radbus_accepted_to_result_seconds:p95_rate1h", "{{use_case}}")],
                "stat",
            ),
            Panel(
                "Late results, of an hour",
                "percentunit",
                [("use_case:radbus_results_late:ratio_rate1h", "{{use_case}}")],
                "stat",
            ),
            Panel(
                "Requests with images that failed, of an hour",
                "percentunit",
                [("radbus:accept_errors:ratio_rate1h", "failed")],
                "stat",
            ),
            Panel(
                "Accepted to result",
                "s",
                [
                    (quantile(0.5, "radbus_accepted_to_result_seconds", "use_case"), "p50 {{use_case}}"),
                    (quantile(0.95, "radbus_accepted_to_result_seconds", "use_case"), "p95 {{use_case}}"),
                ],
            ),
            Panel(
                "Results",
                "ops",
                [(rate("radbus_results_recorded_total", "use_case, triage"), "{{use_case}} {{triage}}")],
            ),
            Panel(
                "Jobs ended", "ops", [(rate("radbus_jobs_ended_total", "use_case, state"), "{{use_case}} {{state}}")]
            ),
            Panel(
                "Not ready",
                "short",
                [("min by (service, check) (radbus_ready) == 0", "{{service}} {{check}}")],
                says="Nothing is shown while all is well.",
            ),
            Panel("Tasks ready, by pool", "short", [('max by (pool) (radbus_tasks{state="ready"})', "{{pool}}")]),
            Panel("Dead letters", "short", [("max by (queue) (radbus_dead_letters) > 0", "{{queue}}")]),
            Panel(
                "Webhooks",
                "ops",
                [(rate("radbus_webhook_deliveries_ended_total", "state"), "{{state}}")],
            ),
            Panel(
                "Webhooks: how long a call takes",
                "s",
                [(quantile(0.95, "radbus_webhook_call_duration_seconds", "instance"), "p95 {{instance}}")],
            ),
            Panel(
                "Webhooks: events that wait",
                "short",
                [
                    ("max(radbus_webhook_deliveries_waiting)", "events"),
                    ("max(radbus_webhook_oldest_waiting_age_seconds)", "seconds of the oldest"),
                ],
            ),
        ),
    ),
    "stages": (
        "radbus: the stages of the way",
        (
            stage("Store an instance", "store", "stage"),
            stage("Complete a series", "complete", "stage"),
            stage("Route", "route", "stage"),
            Panel(
                "Queue wait",
                "s",
                [(quantile(0.95, "radbus_task_queue_wait_seconds", "pool, priority"), "p95 {{pool}} {{priority}}")],
            ),
            Panel(
                "Dispatch, to a worker's start",
                "s",
                [(quantile(0.95, "radbus_task_dispatch_duration_seconds", "pool"), "p95 {{pool}}")],
            ),
            stage("Load", "load"),
            stage("Preprocess", "preprocess"),
            stage("Infer", "infer"),
            stage("Render", "render"),
            stage("Report", "report"),
            stage("Keep the outputs", "keep"),
            stage("Conclude", "conclude", "stage"),
        ),
    ),
    "workers": (
        "radbus: workers and Triton",
        (
            Panel("Tasks", "short", [("max by (pool, state) (radbus_tasks)", "{{pool}} {{state}}")]),
            Panel(
                "Age of the oldest task that is ready",
                "s",
                [("max by (pool) (radbus_oldest_ready_task_age_seconds)", "{{pool}}")],
            ),
            Panel(
                "Slots of live workers",
                "short",
                [("max by (pool) (radbus_worker_slots)", "{{pool}}"), ("sum(radbus_worker_slots_busy)", "busy")],
            ),
            Panel(
                "Attempts",
                "ops",
                [(rate("radbus_worker_attempts_total", "machine, result"), "{{machine}} {{result}}")],
            ),
            Panel("Tasks ended", "ops", [(rate("radbus_tasks_ended_total", "pool, state"), "{{pool}} {{state}}")]),
            Panel(
                "Attempts given up", "ops", [(rate("radbus_attempts_given_up_total", "pool, why"), "{{pool}} {{why}}")]
            ),
            Panel(
                "Triton: requests",
                "reqps",
                [
                    (rate("nv_inference_request_success", "model"), "{{model}}"),
                    (rate("nv_inference_request_failure", "model"), "{{model}} failed"),
                ],
            ),
            Panel(
                "Triton: a request's time in the queue",
                "µs",
                [
                    (
                        _each("nv_inference_queue_duration_us"),
                        "{{model}}",
                    )
                ],
            ),
            Panel(
                "Triton: a request's time in the model",
                "µs",
                [
                    (
                        _each("nv_inference_compute_infer_duration_us"),
                        "{{model}}",
                    )
                ],
            ),
        ),
    ),
    "intake": (
        "radbus: intake and stores",
        (
            Panel(
                "Requests with images",
                "reqps",
                [(rate("radbus_http_request_duration_seconds_count", "status", _ACCEPTED), "{{status}}")],
            ),
            Panel(
                "Time to accept, p95",
                "s",
                [(quantile(0.95, "radbus_http_request_duration_seconds", "route", _ACCEPTED), "{{route}}")],
            ),
            Panel(
                "Failed",
                "reqps",
                [
                    (
                        rate("radbus_http_request_duration_seconds_count", "route, status", _FAILED),
                        "{{route}} {{status}}",
                    )
                ],
            ),
            Panel(
                "Instances stored",
                "ops",
                [(rate("radbus_ingest_instances_stored_total", "dialect, again"), "{{dialect}} again={{again}}")],
            ),
            Panel(
                "Instances refused",
                "ops",
                [(rate("radbus_ingest_instances_refused_total", "dialect, reason"), "{{dialect}} {{reason}}")],
            ),
            Panel("Bytes stored", "Bps", [(rate("radbus_ingest_stored_bytes_total", "dialect"), "{{dialect}}")]),
            Panel("How near to each limit", "percentunit", [("max by (of) (radbus_admission_load)", "{{of}}")]),
            Panel(
                "Requests refused", "reqps", [(rate("radbus_ingest_requests_refused_total", "because"), "{{because}}")]
            ),
            Panel("Bytes taken in that are not yet stored", "bytes", [("sum(radbus_ingest_waiting_bytes)", "waiting")]),
            Panel(
                "Other requests, p95",
                "s",
                [
                    (
                        quantile(0.95, "radbus_http_request_duration_seconds", "service, route", '{service!="ingest"}'),
                        "{{service}} {{route}}",
                    )
                ],
            ),
            Panel("Erased", "ops", [(rate("radbus_purged_total", "what"), "{{what}}")]),
            Panel("Overdue to be erased", "s", [("max(radbus_purge_oldest_overdue_seconds)", "oldest")]),
        ),
    ),
    "bus": (
        "radbus: bus and dead letters",
        (
            Panel("Messages that wait", "short", [("max by (queue) (radbus_queue_messages)", "{{queue}}")]),
            Panel("Dead letters", "short", [("max by (queue) (radbus_dead_letters)", "{{queue}}")]),
            Panel(
                "Settled", "ops", [(rate("radbus_messages_settled_total", "queue, outcome"), "{{queue}} {{outcome}}")]
            ),
            Panel(
                "Time to settle, p95", "s", [(quantile(0.95, "radbus_message_duration_seconds", "queue"), "{{queue}}")]
            ),
            Panel(
                "Time until a publish is confirmed, p95",
                "s",
                [(quantile(0.95, "radbus_publish_duration_seconds", "exchange"), "{{exchange}}")],
            ),
            Panel("Not confirmed", "ops", [(rate("radbus_publish_failures_total", "exchange"), "{{exchange}}")]),
            Panel(
                "Outbox entries that only the sweep sent",
                "ops",
                [(rate("radbus_outbox_swept_total", "collection"), "{{collection}}")],
            ),
        ),
    ),
}


def main() -> None:
    """Write them all."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "dashboards"
    folder.mkdir(exist_ok=True)
    for name, (title, panels) in DASHBOARDS.items():
        made = json.dumps(dashboard(name, title, panels), indent=1, ensure_ascii=False)
        (folder / f"radbus-{name}.json").write_text(made + "\n")


if __name__ == "__main__":
    main()
