"""What the guard lets pass and what it adds: paths, the visitor's cookie, security headers, and a safe start."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from bare_requests import HOST, Application, call, run

from studio.errors import Refused, StudioError
from studio.web.guard import CONTENT_POLICY, Guard, protect

OURS = f"http://{HOST}"
FOREIGN = "https://evil.example"


@pytest.fixture
def inside() -> Application:
    return Application()


@pytest.fixture
def guard(inside: Application) -> Guard:
    return Guard(inside, host="127.0.0.1", port=7860)


# ---- paths ----


@pytest.mark.parametrize(
    "path",
    [
        "/studio/pictures/../../etc/passwd",
        "/studio/pictures/..",
        "/studio/./session",
        "/studio/pictures/%2e%2e/secret.png",
        "/studio/pictures/%2E%2e%2Fsecret.png",
        "/studio/pictures/%252e%252e/secret.png",
        "/studio/pictures/..%2f..%2fsecret.png",
        "/studio/pictures/..%5csecret.png",
        "/studio/pictures/..\\secret.png",
        "/studio/pictures/a%00.png",
        "/studio/pictures/a\x00.png",
        "/studio/pictures/a%0d%0aset-cookie:x",
        "/studio/%73ession",
        "/studio/pictures/C:secret.png",
        "/studio/pictures/C%3asecret.png",
        "/studio/pictures/%c0%ae%c0%ae/secret.png",
        "/studio//session",
        "//evil.example/studio",
        "/studio/session;x",
        "/studio/pictures/a b.png",
        "/studio/pictures/\xe9.png",
        "/studio/words?prompt=a%00b",
        "/gradio_api/file=../../etc/passwd",
        "/assets/../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2fetc/passwd",
        "studio",
        "",
    ],
)
def test_paths_that_are_no_names_of_ours_are_malformed(guard: Guard, inside: Application, path: str) -> None:
    assert call(guard, path).status == 400
    assert not inside.calls


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/studio/pictures/1700000000000-0123456789abcdef.png?download=1",
        "/studio/words?prompt=%E2%80%9Ca%20lake%E2%80%9D%20..%2F%5C",
        "/studio/assets/examples/lake-1.webp",
        "/assets/index-DphvyggB.js",
        "/static/fonts/SourceSansPro/SourceSansPro-Regular.woff2",
    ],
)
def test_the_pages_own_addresses_are_answered(guard: Guard, path: str) -> None:
    assert call(guard, path).status == 200


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", ""])
def test_other_methods_are_refused(guard: Guard, inside: Application, method: str) -> None:
    assert call(guard, method=method).status == 405
    assert not inside.calls


# ---- the visitor ----


def test_a_visitor_gets_a_cookie_once_and_is_known_by_it(guard: Guard, inside: Application) -> None:
    first = call(guard, "/")
    cookie = first.headers["set-cookie"]
    visitor = json.loads(first.body)["visitor"]
    assert re.fullmatch("[0-9a-f]{32}", visitor)
    assert cookie.startswith(f"wavebrush_visitor={visitor}; Path=/;")
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    again = call(guard, headers={"cookie": f"other=1; wavebrush_visitor={visitor}"})
    assert json.loads(again.body)["visitor"] == visitor
    assert "set-cookie" not in again.headers


def test_two_visitors_are_two(guard: Guard) -> None:
    assert json.loads(call(guard).body)["visitor"] != json.loads(call(guard).body)["visitor"]


@pytest.mark.parametrize("value", ["", "../..", "A" * 32, "0" * 31, "0" * 33, "<script>", "local"])
def test_a_cookie_that_is_no_id_is_replaced(guard: Guard, value: str) -> None:
    answer = call(guard, headers={"cookie": f"wavebrush_visitor={value}"})
    assert json.loads(answer.body)["visitor"] != value
    assert "set-cookie" in answer.headers


def test_over_an_encrypted_connection_the_cookie_stays_there(inside: Application) -> None:
    answer = call(Guard(inside, port=443), host="localhost", scheme="https")
    assert answer.headers["set-cookie"].endswith("; Secure")


# ---- headers of the answers ----


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 200),
        ("/studio/session", {}, 200),
        ("/", {"origin": FOREIGN}, 403),
        ("/nothing", {}, 404),
        ("/..", {}, 400),
    ],
)
def test_every_answer_carries_the_security_headers(
    guard: Guard, path: str, headers: dict[str, str], status: int
) -> None:
    answer = call(guard, path, headers=headers)
    assert answer.status == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    assert answer.headers["content-security-policy"] == CONTENT_POLICY


def test_the_content_policy_names_no_other_host() -> None:
    sources = {word for directive in CONTENT_POLICY.split("; ") for word in directive.split()[1:]}
    assert sources == {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}
    assert "frame-ancestors 'none'" in CONTENT_POLICY


def test_no_answer_lets_another_origin_read_it(inside: Application, guard: Guard) -> None:
    inside.answer_headers = [
        (b"Access-Control-Allow-Origin", FOREIGN.encode()),
        (b"access-control-allow-credentials", b"true"),
        (b"X-Frame-Options", b"ALLOWALL"),
    ]
    answer = call(guard, headers={"origin": OURS})
    assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert {value for name, value in answer.headers.items() if name.lower() == "x-frame-options"} == {"DENY"}


def test_https_binds_no_other_port_of_the_host_and_no_later_start(inside: Application) -> None:
    guard = Guard(inside, host="0.0.0.0", port=7860, allow_hosts=["studio.lan"])
    answer = call(guard, host="studio.lan:7860", scheme="https")
    assert answer.status == 200
    assert "Secure" in answer.headers["set-cookie"]  # it knows that it is HTTPS
    assert "strict-transport-security" not in {name.lower() for name in answer.headers}


def test_a_route_may_set_a_stricter_policy_and_its_own_caching(inside: Application, guard: Guard) -> None:
    assert call(guard, "/").headers["cache-control"] == "no-store"
    assert call(guard).headers["cache-control"] == "no-store"
    assert "cache-control" not in call(guard, "/assets/index.js").headers
    inside.answer_headers = [
        (b"content-security-policy", b"default-src 'none'"),
        (b"cache-control", b"private"),
    ]
    answer = call(guard)
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert answer.headers["cache-control"] == "private"


# ---- at the start ----


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "studio.lan"])
def test_beyond_this_computer_nothing_is_served_without_a_login(inside: Application, host: str) -> None:
    with pytest.raises(Refused, match="python -m studio login"):
        protect(inside, host=host, port=7860)


def test_a_name_for_others_needs_a_login_too(inside: Application) -> None:
    with pytest.raises(Refused, match=r"Answering to the name studio\.example"):
        protect(inside, host="127.0.0.1", port=7860, allow_hosts=["studio.example"])
    protect(inside, host="127.0.0.1", port=7860, allow_hosts=["localhost:8080", "[::1]:8080", "127.0.0.1"])


def test_an_allowed_host_that_is_none_is_told_in_words(inside: Application) -> None:
    with pytest.raises(StudioError):
        protect(inside, host="127.0.0.1", port=7860, allow_hosts=["http://localhost"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_on_this_computer_no_login_is_needed(inside: Application, host: str) -> None:
    protect(inside, host=host, port=7860)


def test_the_applications_start_and_end_pass_through(guard: Guard) -> None:
    seen = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    run(Guard(application)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
