"""The bearer token that a call shows, compared with the one that is set."""

from __future__ import annotations

import hmac


def token_fits(token: str, authorization: str | None) -> bool:
    """Whether the header shows the token; takes equally long wherever they differ."""
    scheme, _, shown = (authorization or "").partition(" ")
    wanted = token.encode("utf-8", "surrogateescape")
    # A header's bytes reach us read as Latin-1, a token typed into the page as it is.
    as_bytes = shown.strip().encode("latin-1", "replace")
    as_text = shown.strip().encode("utf-8", "surrogateescape")
    fits = hmac.compare_digest(as_bytes, wanted) | hmac.compare_digest(as_text, wanted)
    return fits and scheme.lower() == "bearer"
