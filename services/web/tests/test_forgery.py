"""State-changing requests from elsewhere, and the headers that every answer has."""

import re

import httpx
import pytest
from litestar import Litestar

from hermes_web.app import build
from hermes_web.http.assets import find_assets
from hermes_web.web import Web

BULK_ID = "0195d3a0-0000-7000-8000-0000000000b1"
PAGES = (
    *("/", "/series", "/series?q=status:unmatched", "/deliveries", "/rules", "/rules/new", "/rules/_test", "/targets"),
    *("/targets/_new/dicom", "/targets/_new/folder", "/sources", "/policies", "/quarantine", "/alerts", "/audit"),
    *(
        "/flow",
        "/queues",
        "/errors",
        "/errors?target=pacs",
        f"/errors/progress?id={BULK_ID}&target=pacs&since=2026-11-24T00:00:00Z&asked=1&actor=admin",
    ),
    *(
        "/quarantine?within=1h",
        "/series?q=modality:MR+received:24h",
        "/users",
        "/users/vera",
        "/password",
        "/account",
        "/account/second-factor",
        "/system",
        "/system/events",
        "/alerts?state=open",
        "/start",
        "/history/rules",
        "/history/targets",
        "/nowhere",
    ),
    *("/series/1.2.826.0.1.3680043.2.1125.1", "/series/1.2.826.0.1.3680043.2.1125.2"),
    *("/series/1.2.826.0.1.3680043.2.1125.3", "/studies/1.2.826.0.1.3680043.2.1125", "/associations", "/storage"),
    *("/rules/brain", "/rules/new?series=1.2.826.0.1.3680043.2.1125.1", "/rules/_backtest", "/rules/_mercure"),
    *("/rules/_compare?from=0&to=1", "/targets/pacs", "/history/rules/1", "/history/targets/1", "/history/alerting"),
    *("/alerts/conditions", "/alerts/channels", "/alerts/channels/board", "/alerts/channels/_new/webhook"),
    "/rules/_test?series=1.2.826.0.1.3680043.2.1125.1",
    *("/deliveries/0e7a7c5e-5f1b-5d0e-9a65-000000000001", "/deliveries/0e7a7c5e-5f1b-5d0e-9a65-000000000002"),
)
NO_PAGES = {
    **dict.fromkeys(("/livez", "/readyz", "/metrics"), "text for machines"),
    **dict.fromkeys(("/live/series", "/live/changes", "/live/changes/{uid:str}"), "streams of events: test_live"),
    **dict.fromkeys(("/palette", "/rules/_counts"), "JSON"),
    **dict.fromkeys(
        ("/series/_export", "/audit/_export", "/quarantine/{reception_id:str}", "/system/diagnostics"), "files"
    ),
    **dict.fromkeys(("/sign-in/sso", "/sign-in/sso/back", "/sign-in/sso/out"), "need a provider: test_single_sign_on"),
    **dict.fromkeys(
        ("/series/{uid:str}/picture", "/series/{uid:str}/pictures/{reception_id:str}"), "images: test_thumbnails"
    ),
    "/sign-in": "leads on who is signed in: test_signin",
    "/sign-in/code": "needs half a session: test_second_factor",
    **dict.fromkeys(("/static/{file_path:path}", "/assets/{file_path:path}"), "files that anybody may have"),
}
"""Routes that answer GET and are no page of PAGES, and why."""
HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>{{7*7}}${7*7}"


def patterns(app: Litestar) -> set[str]:
    """Return the addresses of every page that the application serves."""
    return {
        route.path
        for route in app.routes
        for handler in route.route_handlers  # type: ignore[union-attr]  # there are only HTTP routes: test_access
        if "GET" in handler.http_methods and not handler.opt.get("api")
    }


def best(path: str, among: set[str]) -> str | None:
    """Return the route that answers an address: of those that fit, the one with the fewest variable parts."""
    fitting = [each for each in among if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", each), path)]
    return min(fitting, key=lambda each: each.count("{"), default=None)


def test_every_page_of_the_route_list_is_among_those_that_are_looked_at(web: Web) -> None:
    served = patterns(build(web))
    looked_at = {best(path.partition("?")[0], served) for path in PAGES}
    assert served - looked_at - set(NO_PAGES) == set()
    assert set(NO_PAGES) <= served, "what is no route any longer needs no exception"


async def configure(api: httpx.AsyncClient, words: str = "") -> None:
    """Save a target, a rule, a sender and a channel, with words that a person could have typed."""
    name, comment = words or "one", words or "a comment"
    targets = [{"kind": "folder", "slug": "pacs", "name": name, "path": "/var/tmp", "comment": comment}]
    rules = [{"slug": "brain", "name": name, "expression": 'Modality == "MR"', "targets": ["pacs"], "comment": comment}]
    sources = [{"slug": "ct", "name": name, "calling_aet": "CT", "comment": comment, "users": [{"name": name}]}]
    channels = [{"kind": "webhook", "slug": "board", "name": name, "url": "http://127.0.0.1:9/x"}]
    documents = {"targets": {"targets": targets}, "rules": {"rules": rules}, "sources": {"sources": sources}}
    for kind, document in {**documents, "alerting": {"channels": channels}}.items():
        answer = await api.put(
            f"/api/v1/{kind}", json=document, headers={"if-match": '"0"'}, params={"comment": comment}
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "https://hermes.test.evil.test"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_a_form_from_another_site_is_refused_even_with_the_token(admin, headers: dict[str, str]) -> None:
    answer = await admin.post("/users/vera/disable", None, **headers)
    assert answer.status_code == 403
    assert "vera" in (await admin.get("/users/vera")).text


async def test_a_form_without_the_sessions_own_token_is_refused(admin, viewer) -> None:
    for token in ("", "0" * 64, viewer.csrf):
        admin_token, admin.csrf = admin.csrf, token
        assert (await admin.post("/users/vera/disable")).status_code == 403
        admin.csrf = admin_token
    assert (await admin.post("/users/vera/disable")).status_code == 303


async def test_signing_in_from_another_site_is_refused(browser) -> None:
    client = browser()
    answer = await client.post("/sign-in", {"name": "admin", "password": "x"}, origin="https://evil.test")
    assert answer.status_code == 403


async def test_a_multipart_form_does_not_get_around_the_token(admin) -> None:
    for token, headers in (("0" * 64, {}), (admin.csrf, {"origin": "https://evil.test"})):
        files = {"_csrf": (None, token)}
        assert (await admin.http.post("/users/vera/disable", files=files, headers=headers)).status_code == 403


async def test_every_answer_has_the_security_headers_and_no_page_an_inline_script_or_style(
    admin, api, make_ledger
) -> None:
    make_ledger()
    await configure(api)
    links = find_assets().links
    script = links["app.js"]
    for path in (*PAGES, script, "/static/icon.svg", "/livez", "/api/v1/rules"):
        answer = await admin.get(path)
        policy = answer.headers["content-security-policy"]
        for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
            assert part in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "max-age=" in answer.headers["strict-transport-security"]
        if answer.headers["content-type"].startswith("text/html"):
            assert answer.headers["cache-control"] == "no-store"
            nonce = re.search(r"'nonce-([^']+)'", policy)
            scripts = re.findall(r"<script[^>]*>", answer.text)
            assert script in scripts[0]
            for each in scripts:
                ours = re.fullmatch(r'<script src="([^"]+)" nonce="([^"]+)"( data-[a-z]+)? defer>', each)
                assert ours is not None, each
                assert (ours[1] in links.values(), ours[2]) == (True, nonce[1])  # type: ignore[index]
            assert not re.search(r"<[^>]+\s(on\w+|style)=", answer.text), path
            assert "<style" not in answer.text
            assert not re.search(r"(src|href|action)=\"(https?:)?//", answer.text), path


async def test_hostile_text_from_dicom_is_escaped_on_every_page(admin, api, make_ledger) -> None:
    make_ledger(HOSTILE)
    await configure(api, HOSTILE)
    seen = 0
    for path in (*PAGES, f"/series?q={HOSTILE}", f"/deliveries?target={HOSTILE}", f"/rules/_test?series={HOSTILE}"):
        answer = await admin.get(path)
        assert answer.status_code == (404 if path == "/nowhere" else 200), path
        assert "<script>alert" not in answer.text
        own = re.sub(r'<img class="picture" src="/series/[0-9a-f./pictures]+"[^<>]*>', "", answer.text)
        assert "<img" not in own.replace('<img src="/static/icon.svg" alt="" width="24" height="24">', "")
        assert "'\"><" not in answer.text
        assert "49" not in re.findall(r"\{\{7\*7\}\}|>49<", answer.text)
        seen += answer.text.count("&lt;script&gt;alert(1)")
    assert seen > 60


async def test_without_the_history_pages_say_so_and_the_api_says_what_to_do(admin, api: httpx.AsyncClient) -> None:
    for path in ("/", "/series", "/deliveries", "/audit", "/quarantine", "/alerts"):
        answer = await admin.get(path)
        assert answer.status_code == 200
        assert "no history" in answer.text
    answer = await api.get("/api/v1/series")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:hermes:problem:ledger-missing")
    assert "bookkeeper" in answer.json()["action"]
    status = (await api.get("/api/v1/status")).json()
    assert (status["fine"], status["queues"]) == (False, None)


async def test_a_request_that_is_too_large_is_refused(api: httpx.AsyncClient, browser) -> None:
    answer = await api.post(
        "/api/v1/rules/check", content=b"x" * (5 * 1024 * 1024), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert (await browser().post("/sign-in", {"name": "a", "password": "x" * 20_000})).status_code == 413


async def test_viewers_see_the_actions_disabled_with_the_reason(viewer, make_ledger) -> None:
    make_ledger()
    for path in ("/series/1.2.826.0.1.3680043.2.1125.2", "/deliveries", "/rules", "/targets", "/sources", "/policies"):
        assert "Only an administrator may change this" in (await viewer.get(path)).text
