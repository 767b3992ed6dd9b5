"""What the services are told about the servers, and which servers somebody else runs."""

from __future__ import annotations

from collections.abc import Mapping

from radbus_cli.local.layout import HOST, Layout, repository

# A server is not started when its URL is given.
URL_OF_SERVER = {
    "rabbitmq": "RADBUS_AMQP_URL",
    "mongo": "RADBUS_MONGO_URL",
    "s3": "RADBUS_S3_URL",
    "triton": "RADBUS_TRITON_URL",
}


def service_environment(layout: Layout, given: Mapping[str, str]) -> dict[str, str]:
    """Give the settings of the services; what is already given in the environment wins."""
    s3_url = given.get("RADBUS_S3_URL") or f"http://{HOST}:{layout.port('s3')}"
    own = {
        "RADBUS_AMQP_URL": f"amqp://guest:guest@{HOST}:{layout.port('amqp')}/",
        "RADBUS_MONGO_URL": f"mongodb://{HOST}:{layout.port('mongo')}/?replicaSet=rs0&directConnection=true",
        "RADBUS_MONGO_DATABASE": "radbus",
        "RADBUS_S3_URL": s3_url,
        "RADBUS_S3_PUBLIC_URL": s3_url,
        "RADBUS_S3_ACCESS_KEY": "radbus",
        "RADBUS_S3_SECRET_KEY": "radbus-local-development",
        "RADBUS_PATIENT_KEY": "radbus-local-development",
        "RADBUS_WEBHOOK_KEY": "radbus-local-development",
        "RADBUS_S3_BUCKET": "radbus",
        "RADBUS_ACCESS_KEY": "radbus-local-development-access-key",
        "RADBUS_TRITON_URL": f"{HOST}:{layout.port('triton_grpc')}",
        "RADBUS_USE_CASES_DIR": str(repository() / "services" / "router" / "use_cases"),
        "RADBUS_MACHINES_DIR": str(repository() / "triton_models"),
        "RADBUS_TRACES": f"file:{layout.root / 'traces'}",
    }
    return {name: given.get(name) or value for name, value in own.items()}


def external_servers(given: Mapping[str, str]) -> frozenset[str]:
    """Give the servers whose URL is given: the stack uses them and does not start its own."""
    return frozenset(server for server, variable in URL_OF_SERVER.items() if given.get(variable))
