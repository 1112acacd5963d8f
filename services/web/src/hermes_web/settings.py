"""Settings of the web service, from the environment (prefix ``HERMES_``)."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from hermes_common.runtime.errors import UnusableSettingsError
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
    local_sign_in: bool = True
    """Whether people may sign in with a name and a password that are kept here; false needs an identity provider."""
    second_factor: Literal["optional", "administrators", "everybody"] = "optional"
    """Of whom a second factor is asked who sign in with a password; an identity provider has its own."""
    patient_names: Literal["everybody", "administrators"] = "everybody"
    """Who may see names and ids of patients. With ``administrators`` they are masked for everybody, on pages and in the
    API, until an administrator has them shown in a session, with a reason, which is in the audit (ADR-0030).
    """
    oidc_issuer: str | None = None
    """Address of an OpenID Connect provider, exactly as it says it itself; nothing is asked of one without it."""
    oidc_label: str = "single sign-on"
    """What the button on the sign-in page says."""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr | None = None
    oidc_client_secret_file: Path | None = None
    """A file that holds the secret; neither is needed for a public client (PKCE is always used)."""
    oidc_redirect_url: str = ""
    """This service as browsers reach it, with the path /sign-in/sso/back; to be registered at the provider."""
    oidc_scopes: str = "openid profile"
    oidc_name_claim: str = "preferred_username"
    oidc_role_claim: str = "groups"
    """A claim, or a path such as realm_access.roles."""
    oidc_administrators: str = ""
    """Values of that claim, separated by commas, that make an administrator."""
    oidc_viewers: str = ""
    """Values that make a viewer. Without one of either nobody comes in."""
    oidc_ca: Path | None = None
    """Certificates (PEM) that sign the provider's, where it is not one of the usual authorities."""
    store_folder: Path | None = None
    """A folder on the disk on which the object store lies, if that is on this machine: for the forecast of its end."""
    database_pool: Annotated[int, Field(ge=1, le=64)] = 8
    database_statement_seconds: Annotated[int, Field(ge=1, le=600)] = 10

    def oidc_secret(self) -> str | None:
        """Return the client's secret, of the variable or the file; raise :class:`UnusableSettingsError`."""
        if self.oidc_client_secret is not None:
            return self.oidc_client_secret.get_secret_value()
        if self.oidc_client_secret_file is None:
            return None
        try:
            found = self.oidc_client_secret_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnusableSettingsError(f"HERMES_OIDC_CLIENT_SECRET_FILE cannot be read: {error}") from error
        if not found:
            raise UnusableSettingsError("HERMES_OIDC_CLIENT_SECRET_FILE names an empty file")
        return found
