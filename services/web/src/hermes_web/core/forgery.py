"""Whether a state-changing request came from our own pages (OWASP ASVS 5.0, 3.5)."""

import hashlib
import hmac
from urllib.parse import urlsplit

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def csrf_token(session_id: str) -> str:
    """Return the token of a session: only who knows the session's id can make it, and it ends with the session."""
    return hmac.new(session_id.encode(), b"hermes csrf", hashlib.sha256).hexdigest()


def token_fits(given: str | None, expected: str) -> bool:
    """Compare in constant time; an empty or missing token never fits."""
    return bool(given) and bool(expected) and hmac.compare_digest((given or "").encode(), expected.encode())


def origin_refusal(host: str, origin: str | None, fetch_site: str | None) -> str | None:
    """Return why a request is taken for one of another site, or None.

    Browsers send both headers with every POST; a program sends neither, and then only the token speaks for it.
    """
    if fetch_site is not None and fetch_site != "same-origin":
        return f"the browser says that it comes from another place (Sec-Fetch-Site: {fetch_site[:20]})"
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return "the browser says that it comes from another site (Origin)"
    return None
