"""Where somebody is on the network, as it is written into a configuration document."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_.:-]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]


def check_url(value: str) -> str:
    """Return a base URL without its last slash; ValueError unless it is http(s) with a host and nothing secret."""
    parts = urlsplit(value.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write an address such as https://pacs.example.org/dicom-web")
    if parts.username is not None or parts.password is not None:
        raise ValueError("user and password belong in their own fields, not in the address")
    if parts.fragment or parts.query:
        raise ValueError("the address must end before ? and #")
    if not all(32 < ord(character) < 127 for character in value.strip()):
        raise ValueError("the address has characters that are not allowed in it")
    _ = parts.port
    return value.strip().rstrip("/")


Url = Annotated[str, Field(max_length=1000), AfterValidator(check_url)]
