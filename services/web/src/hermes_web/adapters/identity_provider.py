"""An OpenID Connect provider: where it is (discovery), its keys, and what it says in return for a code.

Nothing is asked unless ``HERMES_OIDC_ISSUER`` names one. Every answer has a time limit and a limit of its size, no
redirect is followed, and the addresses that the provider names must be as safe as its own.
"""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwk, jwt
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_common.runtime.errors import UnusableSettingsError
from hermes_web.core.identity import Handshake, usable_algorithms
from hermes_web.errors import NotAdmittedError, UnavailableError
from hermes_web.settings import Settings

log = logging.getLogger(__name__)

_TIME: Final = httpx.Timeout(10, connect=5)
_LARGEST: Final = 512 * 1024
_FRESH: Final = 3600.0
_AGAIN: Final = 30.0


class ProviderError(UnavailableError):
    """The provider does not answer, or not as it must."""

    code = "identity-provider"
    title = "The identity provider cannot be used now"
    action = "Try again; if it stays so, tell an administrator, who finds the reason in the log of the web service."


class Discovery(BaseModel):
    """What is used of the provider's description (OpenID Connect Discovery 1.0)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ()
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class IdentityProvider:
    """The provider that the settings name; raises :class:`UnusableSettingsError` if they cannot be meant.

    ``keys_again`` is after how many seconds the keys may be asked for again because a token was signed with another.
    """

    def __init__(self, settings: Settings, keys_again: float = _AGAIN) -> None:
        self._again = keys_again
        issuer = settings.oidc_issuer or ""
        for name, value in (("OIDC_ISSUER", issuer), ("OIDC_REDIRECT_URL", settings.oidc_redirect_url)):
            if not is_safe(value):
                raise UnusableSettingsError(f"HERMES_{name} must be an https address; http only for this machine")
        if not settings.oidc_client_id:
            raise UnusableSettingsError("HERMES_OIDC_CLIENT_ID is missing: the name of this client at the provider")
        self.issuer = issuer
        self.client_id = settings.oidc_client_id
        self.redirect_url = settings.oidc_redirect_url
        self.scopes = settings.oidc_scopes
        self._secret = settings.oidc_secret()
        self._verify: str | bool = str(settings.oidc_ca) if settings.oidc_ca else True
        self._known: tuple[float, Discovery] | None = None
        self._keys: tuple[float, jwk.KeySet] | None = None

    async def discovery(self) -> Discovery:
        """Return the provider's description; asked for at most once an hour."""
        if self._known is not None and time.monotonic() - self._known[0] < _FRESH:
            return self._known[1]
        body = await self._ask("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            found = Discovery.model_validate(body)
        except ValidationError as error:
            raise ProviderError("what the identity provider says of itself cannot be used") from error
        if found.issuer != self.issuer:
            raise ProviderError(f"the provider says that it is {found.issuer[:200]!r}, not HERMES_OIDC_ISSUER")
        named = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
        more = [address for address in (found.userinfo_endpoint, found.end_session_endpoint) if address]
        if not all(is_safe(address) for address in (*named, *more)):
            raise ProviderError("the identity provider names addresses without https")
        self._known = (time.monotonic(), found)
        return found

    async def sign_in_address(self, bound: Handshake) -> str:
        """Return where the browser goes to sign in."""
        found = await self.discovery()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_url,
            "scope": self.scopes,
            "state": bound.state,
            "nonce": bound.nonce,
            "code_challenge": bound.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(found.authorization_endpoint, asked)

    async def sign_out_address(self, back: str) -> str | None:
        """Return where the browser goes to end the session at the provider, if it has such a place."""
        found = await self.discovery()
        if found.end_session_endpoint is None:
            return None
        asked = {"client_id": self.client_id, "post_logout_redirect_uri": back}
        return _with_query(found.end_session_endpoint, asked)

    async def redeem(self, code: str, bound: Handshake) -> tuple[Mapping[str, Any], str]:
        """Return the claims of the ID token, its signature checked and nothing else, and the access token."""
        found = await self.discovery()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_url,
            "code_verifier": bound.verifier,
        }
        auth = None
        basic = "client_secret_basic" in found.token_endpoint_auth_methods_supported
        if self._secret is None or not basic:
            form["client_id"] = self.client_id
            if self._secret is not None:
                form["client_secret"] = self._secret
        else:
            auth = httpx.BasicAuth(*(_encoded(part) for part in (self.client_id, self._secret)))
        answer = await self._ask("POST", found.token_endpoint, data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderError("the identity provider gave no ID token; the scopes must hold openid")
        access = answer.get("access_token")
        return await self._read(token, found), access if isinstance(access, str) else ""

    async def more_claims(self, access: str, subject: str) -> Mapping[str, Any]:
        """Return the claims of the userinfo endpoint; none if there is no such, or if it speaks of somebody else."""
        found = await self.discovery()
        if found.userinfo_endpoint is None or not access:
            return {}
        headers = {"authorization": f"Bearer {access}"}
        claims = await self._ask("GET", found.userinfo_endpoint, headers=headers)
        return claims if claims.get("sub") == subject else {}

    async def _read(self, token: str, found: Discovery) -> Mapping[str, Any]:
        algorithms = usable_algorithms(found.id_token_signing_alg_values_supported)
        fresh = False
        while True:
            try:
                return jwt.decode(token, await self._key_set(fresh), algorithms=algorithms).claims
            except (JoseError, ValueError) as error:
                if fresh or not self._may_ask_again():
                    raise NotAdmittedError(f"the signature of the ID token is not accepted: {error}") from error
                fresh = True  # the provider may have begun to use another key

    def _may_ask_again(self) -> bool:
        return self._keys is None or time.monotonic() - self._keys[0] > self._again

    async def _key_set(self, fresh: bool) -> jwk.KeySet:
        if self._keys is not None and not fresh and time.monotonic() - self._keys[0] < _FRESH:
            return self._keys[1]
        body = await self._ask("GET", (await self.discovery()).jwks_uri)
        try:
            keys = jwk.KeySet.import_key_set(body)  # type: ignore[arg-type]  # checked by the call
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise ProviderError("the keys of the identity provider cannot be read") from error
        self._keys = (time.monotonic(), keys)
        return keys

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        try:
            async with (
                httpx.AsyncClient(timeout=_TIME, trust_env=False, verify=self._verify) as client,
                client.stream(method, url, **options) as answer,
            ):
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _LARGEST:
                        raise ProviderError("an answer of the identity provider is too long")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderError(f"the identity provider does not answer: {error or type(error).__name__}") from error
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ProviderError(f"the identity provider answered {answer.status_code} and no JSON") from error
        if answer.status_code != httpx.codes.OK or not isinstance(document, dict):
            word = document.get("error") if isinstance(document, dict) else None
            raise ProviderError(f"the identity provider answered {answer.status_code} {str(word or '')[:80]}".strip())
        return document


def is_safe(url: str) -> bool:
    """Return whether an address is https, or http on this machine."""
    try:
        parts = urlsplit(url)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def _with_query(url: str, asked: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(asked)}"


def _encoded(text: str) -> str:
    """Return a client's name or secret as RFC 6749, 2.3.1 wants it in the header."""
    return urlencode({"": text})[1:]
