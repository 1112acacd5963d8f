"""Signing in at a real OpenID Connect provider, and at one that lies."""

import hmac
import json
import re
import socket
import subprocess
import sys
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwk, jwt
from pydantic import SecretStr
from sqlalchemy import text

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import UnusableSettingsError
from hermes_web.adapters.identity_provider import IdentityProvider, is_safe
from hermes_web.adapters.sessions import TRIES_PER_ADDRESS
from hermes_web.app import build, make_web
from hermes_web.http.headers import Shell
from hermes_web.settings import Settings
from hermes_web.web import Web

BACK = "https://hermes.test/sign-in/sso/back"
PASSWORD = "mossy lantern 47 orbit"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of a provider of another project, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 60
    try:
        while True:
            try:
                httpx.get(f"{url}/.well-known/openid-configuration", timeout=2).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, "the provider ended"
                assert time.monotonic() < until, "the provider does not answer"
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait(10)


def configured(web: Web, issuer: str, **more: Any) -> Any:
    """Return the application of the same database with single sign-on."""
    given = web.settings.model_dump() | {
        "oidc_issuer": issuer,
        "oidc_client_id": "hermes",
        "oidc_client_secret": SecretStr("a secret of the client"),
        "oidc_redirect_url": BACK,
        "oidc_administrators": "hermes-admins",
        "oidc_viewers": "radiology, physics",
        **more,
    }
    settings = Settings.model_validate(given)
    return Shell(build(replace(web, settings=settings, provider=IdentityProvider(settings, keys_again=0))))


def person(url: str, subject: str, **claims: Any) -> None:
    """Tell the provider about somebody."""
    httpx.put(f"{url}/users/{subject}", json=claims, timeout=10).raise_for_status()


async def at_the_provider(client: Any, subject: str, start: str = "/sign-in/sso?next=/rules") -> str:
    """Go to the provider, sign in there, and return the path and query with which the browser comes back."""
    there = (await client.get(start)).headers["location"]
    asked = parse_qs(urlsplit(there).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert "a secret" not in there
    async with httpx.AsyncClient(timeout=10) as http:
        answer = await http.post(there, data={"sub": subject})
    back = answer.headers["location"]
    assert back.startswith(BACK), answer.text
    return back.removeprefix("https://hermes.test")


async def signed_in(client: Any) -> bool:
    return (await client.get("/account")).status_code == 200


@pytest.fixture
def people(provider: str, web: Web, browse) -> Callable[..., Any]:
    """Make browsers of an application that trusts the provider."""

    def make(**more: Any) -> Any:
        return browse(configured(web, provider, **more))

    return make


async def test_somebody_with_a_mapped_group_comes_in_and_gets_an_account(people, provider, web: Web, bus: Bus) -> None:
    person(provider, "4711", preferred_username="Maria", groups=["physics", "other"])
    client = people()
    assert "Sign in with single sign-on" in (await client.get("/sign-in")).text
    answer = await client.get(await at_the_provider(client, "4711"))
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0;url=/rules">' in answer.text
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    page = (await client.get("/account")).text
    assert "maria" in page
    assert "The identity provider answers for your account" in page
    assert (await client.get("/users")).text.count("single sign-on") == 0, "a viewer sees no accounts"
    while await web.outbox.drain():
        pass
    said = [message.data async for message in bus.read("HERMES", "hermes.v1.user.>", 0)]
    assert any(b"account of the identity provider with the role viewer" in body for body in said)
    assert any(b"single sign-on" in body and b'"user":"maria"' in body.replace(b" ", b"") for body in said)


async def test_it_is_the_same_account_the_next_time_and_its_role_is_the_providers(people, provider, web: Web) -> None:
    person(provider, "8", preferred_username="nora", groups=["physics"])
    first, second = people(), people()
    await first.get(await at_the_provider(first, "8"))
    person(provider, "8", preferred_username="nora-new", groups=["hermes-admins"])
    await second.get(await at_the_provider(second, "8"))
    page = (await second.get("/users")).text
    assert "nora" in page
    assert "nora-new" not in page
    assert not await signed_in(first), "a role that changed ends the sessions of before"


async def test_an_account_here_is_never_taken_over_by_its_name(people, provider, web: Web) -> None:
    person(provider, "9", preferred_username="admin", groups=["radiology"])
    client = people()
    await client.get(await at_the_provider(client, "9"))
    assert "admin-2" in (await client.get("/account")).text
    assert (await client.get("/users/admin")).status_code == 403


async def test_without_a_group_that_maps_nobody_comes_in_and_no_account_is_made(people, provider, web: Web) -> None:
    client = people()
    for groups in ([], ["unknown"], "Radiology", {"radiology": 1}):
        person(provider, "10", preferred_username="eve", groups=groups)
        answer = await client.get(await at_the_provider(client, "10"))
        assert answer.status_code == 403
        assert "gives a role here" in answer.text
        assert not await signed_in(client)
    count = text("SELECT count(*) FROM accounts.users WHERE name = 'eve'")
    assert await web.database.run(lambda connection: connection.execute(count).scalar_one()) == 0


async def test_a_disabled_account_stays_out(people, provider, admin) -> None:
    person(provider, "11", preferred_username="otto", groups=["radiology"])
    client = people()
    await client.get(await at_the_provider(client, "11"))
    assert (await admin.post("/users/otto/disable")).status_code == 303
    assert not await signed_in(client)
    answer = await client.get(await at_the_provider(client, "11"))
    assert answer.status_code == 403
    assert "disabled" in answer.text


async def test_an_answer_is_taken_from_the_browser_that_began_and_once(people, provider) -> None:
    person(provider, "12", preferred_username="pia", groups=["radiology"])
    began, victim = people(), people()
    back = await at_the_provider(began, "12")
    stolen = await victim.get(back)
    assert (stolen.status_code, await signed_in(victim)) == (403, False)
    assert (await began.get(back.replace("state=", "state=x"))).status_code == 403
    assert not await signed_in(began), "a try with a wrong state ends it"
    again = await at_the_provider(began, "12")
    assert (await began.get(again)).status_code == 200
    assert (await began.get(again)).status_code == 403, "the same answer counts once"


async def test_a_code_of_another_try_is_refused_by_its_verifier_and_nonce(people, provider) -> None:
    person(provider, "13", preferred_username="quinn", groups=["radiology"])
    one, two = people(), people()
    code = parse_qs(urlsplit(await at_the_provider(one, "13")).query)["code"][0]
    mine = await at_the_provider(two, "13")
    swapped = re.sub(r"code=[^&]+", f"code={code}", mine)
    assert (await two.get(swapped)).status_code in (403, 503)
    assert not await signed_in(two)


async def test_answers_that_are_refused_before_the_provider_is_asked_are_in_the_audit_and_throttled(
    people, web: Web
) -> None:
    client = people()
    state = parse_qs(urlsplit((await client.get("/sign-in/sso")).headers["location"]).query)["state"][0]
    assert (await client.get(f"/sign-in/sso/back?error=access_denied&state={state}")).status_code == 403
    answers = [(await people().get("/sign-in/sso/back?code=x&state=of-nobody")).status_code for _ in range(12)]
    assert (answers[0], answers[-1]) == (403, 429)
    rows = text(
        "SELECT body->>'detail' FROM accounts.outbox WHERE type = 'hermes.v1.user.login_failed' ORDER BY number"
    )
    said = await web.database.run(lambda connection: list(connection.execute(rows).scalars()))
    assert "access_denied" in said[0]
    assert "did not begin this try" in said[1]
    assert len(said) == 10, "what is throttled fills no table"


async def test_who_refuses_at_the_provider_is_told_so(people, provider) -> None:
    client = people()
    there = (await client.get("/sign-in/sso")).headers["location"]
    state = parse_qs(urlsplit(there).query)["state"][0]
    answer = await client.get(f"/sign-in/sso/back?error=access_denied&state={state}")
    assert answer.status_code == 403
    assert "access_denied" in answer.text


async def test_after_signing_out_the_page_leads_to_where_the_provider_ends_it_too(people, provider) -> None:
    person(provider, "14", preferred_username="rita", groups=["radiology"])
    client = people()
    await client.get(await at_the_provider(client, "14"))
    page = await client.get("/account")
    client.csrf = re.search(r'name="_csrf" value="([0-9a-f]+)"', page.text)[1]
    answer = await client.post("/sign-out")
    assert answer.headers["location"] == "/sign-in?was=sso&done=out"
    assert not await signed_in(client)
    assert "/sign-in/sso/out" in (await client.get("/sign-in?was=sso")).text
    there = (await client.get("/sign-in/sso/out")).headers["location"]
    assert there.startswith(f"{provider}/oauth2/end_session?")
    assert parse_qs(urlsplit(there).query)["post_logout_redirect_uri"] == ["https://hermes.test/sign-in"]


async def test_passwords_are_refused_where_they_are_switched_off_and_single_sign_on_goes_on(people, provider) -> None:
    person(provider, "15", preferred_username="sven", groups=["hermes-admins"])
    client = people(local_sign_in=False)
    assert 'name="password"' not in (await client.get("/sign-in")).text
    assert (await client.sign_in("admin")).status_code == 403
    await client.get(await at_the_provider(client, "15"))
    assert await signed_in(client)


async def test_an_external_account_has_no_password_and_no_factor_here(people, provider, admin, browser) -> None:
    person(provider, "16", preferred_username="tom", groups=["radiology"])
    client = people(second_factor="everybody")
    await client.get(await at_the_provider(client, "16"))
    assert await signed_in(client), "its second factor is the provider's"
    assert (await admin.post("/users/tom/password", {"password": "quiet harbour 9 walnut"})).status_code == 409
    for guess in ("!", "", PASSWORD):
        assert (await browser().sign_in("tom", guess)).status_code == 401


async def test_without_settings_there_is_no_such_way_in_and_nothing_is_asked(browser) -> None:
    client = browser()
    assert "/sign-in/sso" not in (await client.get("/sign-in")).text
    for path in ("/sign-in/sso", "/sign-in/sso/back?code=1&state=1", "/sign-in/sso/out"):
        assert (await client.get(path)).status_code == 404


async def test_a_provider_that_is_away_is_said_in_words_and_passwords_still_work(web: Web, browse) -> None:
    client = browse(configured(web, "http://127.0.0.1:1"))
    answer = await client.get("/sign-in/sso")
    assert (answer.status_code, "does not answer" in answer.text) == (503, True)
    assert (await client.sign_in("admin")).status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        {"oidc_issuer": "http://id.example.org"},
        {"oidc_issuer": "ftp://127.0.0.1"},
        {"oidc_redirect_url": "http://hermes.example.org/sign-in/sso/back"},
        {"oidc_redirect_url": ""},
        {"oidc_client_id": ""},
        {"oidc_client_secret": None, "oidc_client_secret_file": "/nowhere/secret"},
    ],
)
def test_settings_that_cannot_be_meant_stop_the_start(change: dict[str, Any]) -> None:
    good = {"oidc_issuer": "https://id.test", "oidc_client_id": "hermes", "oidc_redirect_url": BACK}
    IdentityProvider(Settings.model_validate(good))
    with pytest.raises(UnusableSettingsError, match="HERMES_OIDC_"):
        IdentityProvider(Settings.model_validate({**good, **change}))


async def test_nobody_able_to_sign_in_stops_the_start(web: Web) -> None:
    settings = web.settings.model_copy(update={"local_sign_in": False})
    with pytest.raises(UnusableSettingsError, match="nobody could sign in"):
        make_web(settings, "0", web.bus, web.health)


def test_the_secret_comes_from_a_file(tmp_path) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    assert Settings(oidc_client_secret_file=file).oidc_secret() == "from the file"


def test_an_address_is_safe_with_https_or_on_this_machine() -> None:
    assert all(map(is_safe, ("https://id.example.org/x", "http://127.0.0.1:9", "http://[::1]:9/", "http://localhost")))
    unsafe = ("http://id.example.org", "http://127.0.0.1.evil.test", "javascript:1", "", "https://", "http://[::1")
    assert not any(map(is_safe, unsafe))


class Liar:
    """A provider whose answers a test writes: ``token`` makes the ID token of the claims that would be right."""

    def __init__(self) -> None:
        self.key = jwk.RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
        self.token: Callable[[dict[str, Any]], str] = self.sign
        self.nonce = ""
        self.described: dict[str, Any] = {}
        self.large = False
        self.userinfo: dict[str, Any] = {}

    def sign(self, claims: dict[str, Any], key: Any = None, alg: str = "RS256") -> str:
        return jwt.encode({"alg": alg, "kid": "1"}, claims, key or self.key, algorithms=[alg])

    def answer(self, path: str, url: str) -> dict[str, Any]:
        match path:
            case "/.well-known/openid-configuration":
                places = {f"{name}_endpoint": f"{url}/{name}" for name in ("authorization", "token", "userinfo")}
                known = {"issuer": url, "jwks_uri": f"{url}/keys", **places}
                return {**known, "id_token_signing_alg_values_supported": ["RS256", "none", "HS256"], **self.described}
            case "/keys":
                return {"keys": [self.key.as_dict(private=False)]}
            case "/userinfo":
                return self.userinfo
            case _:
                at = time.time()
                claims = {"iss": url, "aud": "hermes", "sub": "1", "nonce": self.nonce, "groups": ["hermes-admins"]}
                token = self.token({**claims, "iat": at, "exp": at + 300, "preferred_username": "liar"})
                return {"id_token": token, "access_token": "a", "padding": "x" * 600_000 if self.large else ""}


@contextmanager
def serving(liar: Liar) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            body = json.dumps(liar.answer(self.path, f"http://127.0.0.1:{self.server.server_port}")).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the base class's name

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
async def lied_to(web: Web, browse) -> AsyncIterator[tuple[Liar, Callable[[], Any]]]:
    """A provider that lies, and what makes a sign-in at it."""
    liar = Liar()
    with serving(liar) as url:
        application = configured(web, url)

        async def come_in(more: str = "", *, fresh: bool = False) -> httpx.Response:
            client = browse(configured(web, url) if fresh else application)
            begun = await client.get("/sign-in/sso")
            if begun.status_code != 303:
                return begun
            asked = parse_qs(urlsplit(begun.headers["location"]).query)
            liar.nonce = asked["nonce"][0]
            answer = await client.get(f"/sign-in/sso/back?code=1&state={asked['state'][0]}{more}")
            assert (answer.status_code == 200) is await signed_in(client)
            return answer

        yield liar, come_in


def packed(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(claims: dict[str, Any]) -> str:
    return ".".join([*(packed(json.dumps(part).encode()) for part in ({"alg": "none"}, claims)), ""])


def signed_with(secret: bytes, claims: dict[str, Any]) -> str:
    """Return a token that is signed with what everybody knows: the provider's public key, taken for a secret."""
    text = ".".join(packed(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "1"}, claims))
    return f"{text}.{packed(hmac.digest(secret, text.encode(), 'sha256'))}"


async def test_the_scripted_provider_is_believed_when_it_does_not_lie(lied_to) -> None:
    _, come_in = lied_to
    assert (await come_in()).status_code == 200


async def test_a_token_that_is_not_for_this_try_is_refused_and_said_in_the_audit(lied_to, web: Web) -> None:
    liar, come_in = lied_to
    failed = text("SELECT body->>'detail' FROM accounts.outbox WHERE type = 'hermes.v1.user.login_failed'")
    for change, word in (
        ({"nonce": "of another try"}, "nonce"),
        ({"iss": "https://evil.test"}, "issuer"),
        ({"aud": "somebody else"}, "another client"),
        ({"exp": time.time() - 3600}, "expired"),
        ({"iat": time.time() + 3600}, "future"),
    ):
        liar.token = lambda claims, change=change: liar.sign({**claims, **change})
        answer = await come_in()
        assert answer.status_code == 403
        assert word in answer.text
        details = await web.database.run(lambda connection: list(connection.execute(failed).scalars()))
        assert word in details[-1]


async def test_a_token_without_a_signature_or_with_another_key_is_refused(lied_to) -> None:
    liar, come_in = lied_to
    other = jwk.RSAKey.generate_key(2048, {"kid": "1"})
    secret = jwk.OctKey.import_key("a secret of the client")
    forged: list[Callable[[dict[str, Any]], str]] = [
        unsigned,
        lambda claims: liar.sign(claims, other),
        lambda claims: liar.sign(claims, secret, "HS256"),
        lambda claims: signed_with(liar.key.as_pem(private=False), claims),
        lambda claims: liar.sign(claims)[:-8] + "AAAAAAAA",
        lambda _: "no token",
        lambda _: "a.b.c",
    ]
    for forge in forged:
        liar.token = forge
        answer = await come_in()
        assert answer.status_code == 403, answer.text
        assert "signature" in answer.text


async def test_a_key_that_is_new_at_the_provider_is_fetched(lied_to) -> None:
    liar, come_in = lied_to
    assert (await come_in()).status_code == 200
    liar.key = jwk.RSAKey.generate_key(2048, {"kid": "2"})
    liar.token = lambda claims: jwt.encode({"alg": "RS256", "kid": "2"}, claims, liar.key)
    assert (await come_in()).status_code == 200


async def test_another_issuer_in_the_answer_or_the_description_is_refused(lied_to) -> None:
    liar, come_in = lied_to
    assert (await come_in("&iss=https://evil.test")).status_code == 403
    liar.described = {"authorization_response_iss_parameter_supported": True}
    assert (await come_in(fresh=True)).status_code == 403, "it says that it always names itself"
    liar.described = {"issuer": "https://evil.test"}
    assert (await come_in(fresh=True)).status_code == 503
    liar.described = {"token_endpoint": "http://192.0.2.1/token"}
    assert (await come_in(fresh=True)).status_code == 503


async def test_an_answer_without_end_is_not_read_to_its_end(lied_to) -> None:
    liar, come_in = lied_to
    liar.large = True
    answer = await come_in()
    assert (answer.status_code, "too long" in answer.text) == (503, True)


async def test_groups_that_only_the_userinfo_says_count_if_it_speaks_of_the_same_person(lied_to) -> None:
    liar, come_in = lied_to
    liar.token = lambda claims: liar.sign({name: value for name, value in claims.items() if name != "groups"})
    liar.userinfo = {"sub": "2", "groups": ["hermes-admins"]}
    assert (await come_in()).status_code == 403
    liar.userinfo = {"sub": "1", "groups": ["hermes-admins"]}
    assert (await come_in()).status_code == 200


async def test_failing_answers_from_one_address_are_throttled(lied_to) -> None:
    liar, come_in = lied_to
    liar.token = lambda claims: liar.sign({**claims, "nonce": "x"})
    statuses = [(await come_in()).status_code for _ in range(TRIES_PER_ADDRESS + 2)]
    assert statuses.count(403) == TRIES_PER_ADDRESS
    assert statuses[-1] == 429
