"""Settings of the web service, from the environment (prefix ``HERMES_``)."""

from typing import Annotated

from pydantic import Field, SecretStr

from hermes_common.runtime.settings import DatabaseSettings, RuntimeSettings, SealingSettings


class Settings(RuntimeSettings, DatabaseSettings, SealingSettings):
    """Where to listen, where the history is, and the first administrator."""

    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 takes any free port and logs it."""
    http_insecure_cookies: bool = False
    """Let people sign in over plain HTTP from other machines: the session cookie is then readable on the network.

    Not needed for ``http://localhost`` and ``http://127.0.0.1``, which browsers trust, nor behind a TLS proxy.
    """
    http_trusted_proxies: str = ""
    """Addresses, separated by commas, whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed."""
    dicomweb_url: str | None = None
    """Address of a receiver's STOW-RS port, such as http://127.0.0.1:8042; ``/dicom-web`` is passed on to it."""
    admin_user: str = "admin"
    admin_password: SecretStr | None = None
    """Makes the first administrator, only while there is no user at all."""
    admin_token: SecretStr | None = None
    """Makes an API token for automation, only together with the first administrator."""
    database_pool: Annotated[int, Field(ge=1, le=64)] = 8
    database_statement_seconds: Annotated[int, Field(ge=1, le=600)] = 10
