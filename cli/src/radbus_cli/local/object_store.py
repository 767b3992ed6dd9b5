"""How SeaweedFS starts on one machine as the S3 object store, all its parts in one program on loopback."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from radbus_cli.local import readiness
from radbus_cli.local.errors import ServerMissingError
from radbus_cli.local.layout import HOST, Layout
from radbus_cli.local.programs import Phase, Program

# The first is the one that clients use.
_PORT_OF_FLAG = {
    "s3.port": "s3",
    "s3.port.grpc": "s3_grpc",
    "master.port": "s3_master",
    "master.port.grpc": "s3_master_grpc",
    "volume.port": "s3_volume",
    "volume.port.grpc": "s3_volume_grpc",
    "filer.port": "s3_filer",
    "filer.port.grpc": "s3_filer_grpc",
    "admin.port": "s3_admin",
    "admin.port.grpc": "s3_admin_grpc",
    "metricsPort": "s3_metrics",
}


def s3(layout: Layout, environment: Mapping[str, str]) -> Program:
    """Describe SeaweedFS as the object store; it makes the bucket itself when it starts."""
    folder, port = layout.folder("s3"), layout.port("s3")
    bucket = environment["RADBUS_S3_BUCKET"]
    return Program(
        name="s3",
        phase=Phase.SERVER,
        command=(str(_weed()), "-logtostderr=true", "mini", *_weed_flags(layout, bucket)),
        ports=tuple(layout.port(name) for name in _PORT_OF_FLAG.values()),
        folder=folder,
        # The bucket is a folder of the filer: its answer needs no signature.
        is_ready=partial(_s3_is_ready, port, layout.port("s3_filer"), bucket),
        environment={
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": environment["RADBUS_S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": environment["RADBUS_S3_SECRET_KEY"],
        },
        stop_wait_s=20,
    )


def _weed_flags(layout: Layout, bucket: str) -> tuple[str, ...]:
    settings = {
        "dir": str(layout.folder("s3") / "data"),
        "ip": HOST,
        "ip.bind": HOST,
        "bucket": bucket,
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": "256",
        "webdav": "false",
        "admin.ui": "false",
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.localSocket": str(layout.run_folder / "w.sock"),
        "filer.localSocket": str(layout.run_folder / "f.sock"),
        # The defaults are open: buckets made by a typing error, and any web page allowed to read.
        "s3.autoCreateBucket": "false",
        "s3.allowedOrigins": f"http://{HOST}:{layout.port('front')}",
        "filer.allowedOrigins": f"http://{HOST}",
        **{flag: str(layout.port(name)) for flag, name in _PORT_OF_FLAG.items()},
    }
    return tuple(f"-{flag}={value}" for flag, value in settings.items())


def _s3_is_ready(port: int, filer_port: int, bucket: str) -> bool:
    return readiness.http_answers_ok(port, "/healthz") and readiness.http_answers_ok(filer_port, f"/buckets/{bucket}/")


def _weed() -> Path:
    """Find SeaweedFS beside this Python, else on the PATH."""
    beside = Path(sys.executable).parent / "weed"
    if beside.is_file():
        return beside
    if on_path := shutil.which("weed"):
        return Path(on_path)
    raise ServerMissingError("SeaweedFS (weed) was not found: run `make install`, or set RADBUS_S3_URL.")
