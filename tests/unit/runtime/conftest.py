"""Settings of services of which only what a test names matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from radbus_runtime.settings import ServiceSettings


@pytest.fixture
def make_settings() -> Callable[..., ServiceSettings]:
    """Make settings of which only those of a test's own matter."""

    def make(**own: Any) -> ServiceSettings:
        servers = dict.fromkeys(("amqp_url", "mongo_url", "s3_url", "s3_access_key", "s3_secret_key"), "unused")
        return ServiceSettings(**{**servers, **own})

    return make
