"""What the one address answers by itself, in nginx and in one process alike, when no service can."""

from __future__ import annotations

import json
from typing import Final

NO_SUCH_PATH: Final = "There is nothing at this path."
NO_SUCH_METHOD: Final = "This path takes other methods; see Allow."
MALFORMED: Final = "Expected a whole and well-formed HTTP request in time."
AWAY: Final = "A service is away; please try again."
RETRY_AFTER_S: Final = 5


def refusal(message: str) -> str:
    """Write the body of a refusal."""
    return json.dumps({"success": False, "message": message})
