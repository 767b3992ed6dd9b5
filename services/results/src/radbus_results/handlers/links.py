"""The link to the next page of inferences (RFC 8288)."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from fastapi import Request

_OF_A_PATH = "/%:@!$&'()*+,;=-._~"  # RFC 3986 3.3, and what is escaped already


def next_link(request: Request, cursor: str) -> str:
    """Spell the link to the page that begins at a cursor, with everything else as it was asked.

    From the path as it was sent: decoded, it may hold what no header can.
    """
    path = quote(request.scope["raw_path"], safe=_OF_A_PATH)
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    url = f"{request.url.scheme}://{request.url.netloc}{path}?{urlencode([*asked, ('cursor', cursor)])}"
    return f'<{url}>; rel="next"'
