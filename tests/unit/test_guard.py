"""The guard in front of a small application: who may call, and what may be called."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from bare_requests import HOST, Application, call, run

from studio.web.guard import Guard

OURS = f"http://{HOST}"
FOREIGN = "https://evil.example"
BODIES = {
    "application/json": b'{"data": []}',
    "text/plain": b'{"data": []}',
    "application/x-www-form-urlencoded": b"data=1",
    "multipart/form-data; boundary=x": b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--',
}
POSTS = [
    "/gradio_api/queue/join",
    "/gradio_api/run/predict",
    "/gradio_api/upload",
    "/studio/jobs",
    "/studio/import",
]


@pytest.fixture
def inside() -> Application:
    return Application()


@pytest.fixture
def guard(inside: Application) -> Guard:
    return Guard(inside, host="127.0.0.1", port=7860)


# ---- Host ----


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LocalHost:7860", "[::1]:7860", "[0:0::1]:7860"])
def test_this_computers_own_names_are_answered(guard: Guard, host: str) -> None:
    assert call(guard, host=host).status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example:7860",  # rebinding DNS: the name is theirs, the address ours
        "evil.example",
        "localhost.evil.example:7860",
        "127.0.0.1.evil.example:7860",
        "127.0.0.1",
        "localhost:7861",
        "localhost:80",
        "127.0.0.2:7860",
        "0.0.0.0:7860",
        "[::2]:7860",
        "localhost.:7860",
        "127.1:7860",
        "2130706433:7860",
    ],
)
def test_other_names_are_refused_whatever_the_method(
    guard: Guard, inside: Application, host: str, method: str
) -> None:
    for path in ("/", "/studio/session", "/gradio_api/queue/join", "/assets/index.js"):
        answer = call(guard, path, method, {"origin": f"http://{host}"}, host=host)
        assert answer.status == 403
    assert not inside.calls


@pytest.mark.parametrize(
    "host",
    [
        "",
        "user@localhost:7860",
        "localhost:7860/evil",
        "localhost:",
        "localhost:port",
        "[::1",
        "local host:7860",
        ":7860",
    ],
)
def test_a_host_that_is_none_is_malformed(guard: Guard, inside: Application, host: str) -> None:
    assert call(guard, host=host).status in (400, 403)
    assert not inside.calls


def test_no_host_and_two_hosts_are_malformed(guard: Guard, inside: Application) -> None:
    assert call(guard, host=None).status == 400
    assert call(guard, headers={"Host": "evil.example"}).status == 400
    assert not inside.calls


def test_the_words_say_how_to_allow_a_name(guard: Guard) -> None:
    answer = call(guard, "/", host="studio.lan:7860")
    assert b"--allow-host studio.lan:7860" in answer.body


def test_the_default_port_may_be_left_out(inside: Application) -> None:
    guard = Guard(inside, port=80)
    assert call(guard, host="localhost").status == 200
    assert call(guard, host="localhost:80").status == 200
    assert call(guard, host="localhost:7860").status == 403


@pytest.mark.parametrize(
    ("entry", "host", "status"),
    [
        ("studio.lan", "studio.lan:7860", 200),
        ("studio.lan", "studio.lan", 200),
        ("Studio.LAN", "studio.lan:443", 200),
        ("studio.lan", "studio.lan:9999", 403),
        ("studio.lan:9999", "studio.lan:9999", 200),
        ("studio.lan:9999", "studio.lan:7860", 403),
        ("studio.lan", "other.studio.lan:7860", 403),
        ("192.168.1.5", "192.168.1.5:7860", 200),
        ("[fd00::5]:9999", "[fd00::5]:9999", 200),
        ("fd00::5", "[FD00:0::5]:7860", 200),
    ],
)
def test_allowed_hosts_are_answered_and_no_others(inside: Application, entry: str, host: str, status: int) -> None:
    assert call(Guard(inside, allow_hosts=[entry]), host=host).status == status


@pytest.mark.parametrize("entry", ["", "http://studio.lan", "a b", "*", "studio.lan:port", "a/b"])
def test_an_allowed_host_that_is_none_is_refused_at_the_start(inside: Application, entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        Guard(inside, allow_hosts=[entry])


def test_a_server_on_every_address_answers_to_the_address_that_was_called(inside: Application) -> None:
    guard = Guard(inside, host="0.0.0.0")
    server = ("192.168.1.5", 7860)
    assert call(guard, host="192.168.1.5:7860", server=server).status == 200
    assert call(guard, host="192.168.1.6:7860", server=server).status == 403
    assert call(guard, host="192.168.1.5:7861", server=server).status == 403
    assert call(guard, host="evil.example:7860", server=server).status == 403
    assert call(guard, host="192.168.1.5:7860", server=("::ffff:192.168.1.5", 7860)).status == 200


# ---- Origin ----


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "http://localhost:7860",  # another origin than 127.0.0.1
        "http://127.0.0.1:3000",
        "http://127.0.0.1",
        "http://127.0.0.1:7860.evil.example",
        "http://evil.example/127.0.0.1:7860",
        "http://user@127.0.0.1:7860",
        "file://",
        "",
    ],
)
def test_a_post_from_another_site_is_refused_whatever_it_is_made_of(
    guard: Guard, inside: Application, path: str, kind: str, origin: str
) -> None:
    answer = call(guard, path, "POST", {"origin": origin, "content-type": kind}, body=BODIES[kind])
    assert answer.status == 403
    assert "error" in json.loads(answer.body)
    assert not inside.calls


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GET", "HEAD"])
def test_a_foreign_origin_is_refused_with_every_method(guard: Guard, inside: Application, method: str) -> None:
    assert call(guard, method=method, headers={"origin": FOREIGN}).status == 403
    assert not inside.calls


def test_two_origins_are_refused(guard: Guard, inside: Application) -> None:
    assert call(guard, "/studio/jobs", "POST", [("origin", OURS), ("origin", FOREIGN)]).status == 403
    assert not inside.calls


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860"])
def test_our_own_page_may_post(guard: Guard, inside: Application, kind: str, host: str) -> None:
    headers = {"origin": f"http://{host}", "sec-fetch-site": "same-origin", "content-type": kind}
    for path in ("/studio/jobs", "/gradio_api/queue/join", "/gradio_api/run/predict"):
        assert call(guard, path, "POST", headers, host=host, body=BODIES[kind]).status == 200
    assert len(inside.calls) == 3


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),  # another port of this computer
        ({"sec-fetch-site": "sideways"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": OURS}, 403),
        ({"sec-fetch-site": "cross-site", "referer": OURS + "/"}, 403),
        ({"referer": FOREIGN + "/"}, 403),
        ({"referer": "http://localhost:7860/"}, 403),
        ({"referer": "no address"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"referer": OURS + "/?x=1"}, 200),
        ({}, 200),  # no browser
    ],
)
def test_without_an_origin_the_other_headers_tell(guard: Guard, headers: dict[str, str], status: int) -> None:
    assert call(guard, "/studio/jobs", "POST", headers).status == status


def test_behind_an_encrypting_proxy_the_origin_is_https(inside: Application) -> None:
    guard = Guard(inside, allow_hosts=["studio.example"])
    posted = {"origin": "https://studio.example"}
    assert call(guard, "/studio/jobs", "POST", posted, host="studio.example").status == 200
    assert call(guard, "/studio/jobs", "POST", posted, host="studio.example", scheme="https").status == 200
    plain = {"origin": "http://studio.example"}
    assert call(guard, "/studio/jobs", "POST", plain, host="studio.example", scheme="https").status == 403


# ---- requests for reading ----


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/studio/session",
        "/studio/pictures/1.png",
        "/gradio_api/queue/data",
        "/studio/words?prompt=a",
    ],
)
def test_other_sites_may_not_read(guard: Guard, inside: Application, site: str, path: str) -> None:
    for mode, dest in (
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("cors", "empty"),
        ("navigate", "document"),
    ):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
        assert call(guard, path, headers=headers).status == 403
    assert call(guard, path, headers={"referer": FOREIGN + "/"}).status == 403
    assert not inside.calls


def test_a_link_on_another_site_may_lead_to_the_page(guard: Guard, inside: Application) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    answer = call(guard, "/", headers=headers)
    # Strict cookies do not come along from elsewhere: the page asks once more, from our own origin.
    assert answer.status == 200
    assert b'http-equiv="refresh"' in answer.body
    assert "set-cookie" not in answer.headers
    assert not inside.calls
    assert call(guard, "/", headers={**headers, "sec-fetch-site": "same-origin"}).status == 200
    assert len(inside.calls) == 1


@pytest.mark.parametrize("dest", ["iframe", "frame", "embed", "object", "image"])
def test_another_site_may_not_frame_the_page(guard: Guard, inside: Application, dest: str) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": dest}
    assert call(guard, "/", headers=headers).status == 403
    assert not inside.calls


def test_another_site_may_not_fetch_the_page(guard: Guard, inside: Application) -> None:
    for mode in ("cors", "no-cors", "same-origin"):
        assert call(guard, "/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": mode}).status == 403
    assert call(guard, "/", "POST", headers={"sec-fetch-site": "cross-site"}).status == 403
    assert not inside.calls


# ---- sockets ----


def socket(app: Any, path: str, headers: dict[str, str]) -> str:
    """The type of what is answered to a websocket's opening."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in {"host": HOST, **headers}.items()]
    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "headers": pairs, "scheme": "ws"}
    run(app(scope, receive, send))
    return str(sent[0]["type"])


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": FOREIGN},
        {"origin": "null"},
        {"host": "evil.example:7860", "origin": "http://evil.example:7860"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_a_socket_from_another_site_is_refused(guard: Guard, inside: Application, headers: dict[str, str]) -> None:
    assert socket(guard, "/studio/live", headers) == "websocket.close"
    assert not inside.calls


def test_our_own_page_may_open_a_socket(guard: Guard, inside: Application) -> None:
    assert socket(guard, "/studio/live", {"origin": OURS}) == "websocket.accept"
    assert re.fullmatch("[0-9a-f]{32}", inside.calls[0]["state"]["visitor"])
    assert socket(guard, "/gradio_api/queue/join", {"origin": OURS}) == "websocket.close"
