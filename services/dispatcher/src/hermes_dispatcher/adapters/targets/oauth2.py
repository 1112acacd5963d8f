"""How a request is authorised: not at all, basic, bearer, or a token that we ask for (RFC 6749 4.4)."""

import base64
import json
from urllib.parse import quote_plus, urlencode

from hermes_common.targets import BasicAuth, BearerAuth, NoAuth, OAuth2Auth
from hermes_dispatcher.adapters.targets.http import Answer, Http
from hermes_dispatcher.adapters.targets.steps import TroubleError
from hermes_dispatcher.core.outcomes import Trouble

LONGEST_TOKEN = 64 * 1024


class Authorisation:
    """The header of each request of one attempt. A token is asked for once, and once more when it is refused."""

    def __init__(self, auth: NoAuth | BasicAuth | BearerAuth | OAuth2Auth, http: Http) -> None:
        self._auth = auth
        self._http = http
        self._token = ""

    @property
    def asks(self) -> bool:
        """Whether tokens are asked for."""
        return isinstance(self._auth, OAuth2Auth)

    def header(self) -> dict[str, str]:
        """Return the header; :class:`TroubleError` when no token can be had."""
        match self._auth:
            case NoAuth():
                return {}
            case BasicAuth(user=user, password=password):
                return {"Authorization": basic(user, password.get_secret_value())}
            case BearerAuth(token=token):
                return {"Authorization": f"Bearer {_line(token.get_secret_value())}"}
            case OAuth2Auth():
                if not self._token:
                    self._token = self._asked(self._auth)
                return {"Authorization": f"Bearer {self._token}"}

    def renew(self) -> bool:
        """Forget a token that was refused; return whether asking for another one makes sense."""
        had = bool(self._token)
        self._token = ""
        return had

    def _asked(self, auth: OAuth2Auth) -> str:
        form = {"grant_type": "client_credentials"} | ({"scope": auth.scope} if auth.scope else {})
        body = urlencode(form).encode()
        secret = auth.client_secret.get_secret_value()
        headers = {
            "Authorization": basic(quote_plus(auth.client_id), quote_plus(secret)),  # RFC 6749 2.3.1
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        answer = self._http.request("POST", auth.token_url, headers, body, len(body))
        if answer.status != 200:
            raise self._refused(answer)
        try:
            found = json.loads(answer.body)
            token = found["access_token"]
        except (ValueError, KeyError, TypeError) as error:
            raise TroubleError(Trouble.BUSY, "the token service answered without an access token") from error
        if not isinstance(token, str) or not 0 < len(token) <= LONGEST_TOKEN:
            raise TroubleError(Trouble.BUSY, "the token service answered something that is no token")
        return _line(token)

    @staticmethod
    def _refused(answer: Answer) -> TroubleError:
        """The body is not repeated: it may repeat what we sent."""
        if answer.status in (400, 401, 403, 404):
            words = "refused us: check the client id, its secret, the scope and the address"
            return TroubleError(Trouble.REJECTED, f"the token service {words} (HTTP {answer.status})")
        return TroubleError(Trouble.BUSY, f"the token service answered HTTP {answer.status}", answer.wait)


def basic(user: str, password: str) -> str:
    """Return the value of the header for a user and a password (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _line(token: str) -> str:
    if not token.isascii() or any(ord(character) < 33 or ord(character) > 126 for character in token):
        raise TroubleError(Trouble.REJECTED, "the token has characters that no header can carry: type it again")
    return token
