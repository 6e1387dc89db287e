"""Bytes that lie elsewhere, by URL: each comes within a time, or is said not to have come."""

import re

SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(name: str) -> bool:
    """Whether a name is a URL; a Windows path is not."""
    return SCHEME.match(name) is not None


def shown(name: str) -> str:
    """A name for messages: a URL without user, password, query and fragment, which may be secret."""
    if not is_url(name):
        return name
    scheme, _, rest = re.split(r"[?#]", name, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
