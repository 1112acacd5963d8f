"""Signing in at an identity provider: OpenID Connect, authorization code with PKCE, state and nonce (ADR-0024).

What one try is bound by follows from a secret in a cookie, so nothing is kept here for people who never come back.
"""

from urllib.parse import quote, unquote

from litestar import Controller, get
from litestar.response import Redirect

from hermes_web.adapters.hashing import new_secret
from hermes_web.adapters.identity_provider import IdentityProvider
from hermes_web.core.forgery import token_fits
from hermes_web.core.identity import handshake
from hermes_web.core.roles import PUBLIC
from hermes_web.errors import NotAdmittedError, NotFoundError, TooManyTriesError, UnavailableError, WebError
from hermes_web.features.signin.pages import address_of, local_path, sign_in_again
from hermes_web.features.signin.service import admit_external, refuse_external
from hermes_web.http.answers import Page, page
from hermes_web.http.cookies import PROVIDER, brief_cookie, give_brief, give_session, session_cookie
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

_LASTS = 600
"""Seconds that somebody may take at the provider."""
_LONGEST = 1000


class SsoPages(Controller):
    """There and back."""

    path = "/sign-in/sso"
    opt = PUBLIC
    include_in_schema = False

    @get()
    async def begin(self, request: HttpRequest) -> Page | Redirect:
        """Send the browser to the provider, with a new secret in its cookie."""
        web, provider = web_of(request), _provider(request)
        target = local_path(request.query_params.get("next", "/")[:_LONGEST])
        secret = new_secret()
        try:
            there = await provider.sign_in_address(handshake(secret))
        except UnavailableError as error:
            return sign_in_again(request, target, error=error)
        answer = Redirect(there, status_code=303)
        answer.set_cookie(give_brief(request, web.settings, PROVIDER, f"{secret}.{quote(target, safe='')}", _LASTS))
        return answer

    @get("/back")
    async def back(self, request: HttpRequest) -> Page:
        """Take the provider's word, and begin a session.

        The answer is a page that leads on, not a redirect: a cookie that is SameSite=Strict is not sent along with a
        redirect that began on another site.
        """
        web, provider = web_of(request), _provider(request)
        secret, _, path = (brief_cookie(request, web.settings, PROVIDER) or "").partition(".")
        target = local_path(unquote(path))
        try:
            code = await _audited_code(request, provider, secret)
            agent, old = request.headers.get("user-agent", ""), session_cookie(request, web.settings)
            session = await admit_external(web, code, handshake(secret), address_of(request), agent, old)
        except (NotAdmittedError, TooManyTriesError, UnavailableError) as error:
            answer = sign_in_again(request, target, error=error)
        else:
            answer = page(request, "signin/through.html", target=target)
            answer.set_cookie(give_session(request, web.settings, session))
        answer.set_cookie(give_brief(request, web.settings, PROVIDER, None, 0))
        return answer

    @get("/out")
    async def out(self, request: HttpRequest) -> Page | Redirect:
        """Send the browser to where its session at the provider ends."""
        provider = _provider(request)
        home = provider.redirect_url.removesuffix("/sign-in/sso/back") + "/sign-in"
        try:
            there = await provider.sign_out_address(home)
            if there is None:
                raise NotFoundError("the identity provider has no place to sign out", "Sign out on its own page.")
        except WebError as error:
            return sign_in_again(request, "/", error=error)
        return Redirect(there, status_code=303)


async def _audited_code(request: HttpRequest, provider: IdentityProvider, secret: str) -> str:
    try:
        return await _code_of(request, provider, secret)
    except NotAdmittedError as error:
        await refuse_external(web_of(request), address_of(request), error)
        raise


async def _code_of(request: HttpRequest, provider: IdentityProvider, secret: str) -> str:
    """Return the code that the browser brought; raise why it is not taken (RFC 6749 4.1.2, RFC 9207)."""
    given = request.query_params
    if not secret or not token_fits(given.get("state"), handshake(secret).state):
        raise NotAdmittedError(
            "this browser did not begin this try to sign in, or began it more than ten minutes ago",
            "Begin again on the sign-in page.",
        )
    issuer = given.get("iss")
    must_say = (await provider.discovery()).authorization_response_iss_parameter_supported
    if (issuer is not None or must_say) and issuer != provider.issuer:
        raise NotAdmittedError("the answer is of another identity provider")
    if given.get("error"):
        raise NotAdmittedError(f"the identity provider said {given['error'][:80]!r}")
    code = given.get("code", "")
    if not 0 < len(code) <= 4096:
        raise NotAdmittedError("the identity provider gave no code")
    return code


def _provider(request: HttpRequest) -> IdentityProvider:
    provider = web_of(request).provider
    if provider is None:
        raise NotFoundError("no identity provider is configured")
    return provider
