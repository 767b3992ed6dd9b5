"""What ingest counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

instances_stored = Counter(
    "radbus_ingest_instances_stored_total",
    "Instances accepted, by dialect; again means the same bytes.",
    ["dialect", "again"],
)
instances_refused = Counter(
    "radbus_ingest_instances_refused_total", "Parts refused, by failure reason.", ["dialect", "reason"]
)
stored_bytes = Counter("radbus_ingest_stored_bytes_total", "Bytes of the instances accepted.", ["dialect"])
requests_in_flight = Gauge("radbus_ingest_requests_in_flight", "Requests being taken in.")
waiting_bytes = Gauge("radbus_ingest_waiting_bytes", "Bytes taken in that are not yet stored.")
requests_refused = Counter(
    "radbus_ingest_requests_refused_total", "Requests refused because of too much, or too little room.", ["because"]
)
admission_load = Gauge(
    "radbus_admission_load", "How near to its limit something is; from 1 on requests are refused.", ["of"]
)
admission_refusing = Gauge("radbus_admission_refusing", "1 while requests are refused for it.", ["because"])
admission_institutions_refused = Gauge(
    "radbus_admission_institutions_refused", "Institutions with more than their share of the waiting tasks."
)
courtesies_dropped = Counter("radbus_ingest_courtesies_dropped_total", "instance.stored events not published.")
completions = Counter("radbus_ingest_completions_total", "Revisions completed, by series or study.", ["scope"])
runs_started = Counter(
    "radbus_ingest_runs_started_total",
    "Runs of the inferencing API; again means a repeated start.",
    ["machine", "again"],
)
runs_erased = Counter(
    "radbus_ingest_runs_erased_total",
    "Zips erased because the run's end was heard, or found by the sweep.",
    ["because"],
)
