"""The login: accounts and their file, limited attempts, sessions, and that nothing is reached without one."""

from __future__ import annotations

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, WebSocket
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from studio.errors import Refused, StudioError
from studio.web import accounts as accounts_module
from studio.web import login
from studio.web.accounts import Accounts, PasswordHash, ask_login_line, check_exposure, make_login_line
from studio.web.guard import Guard, protect
from studio.web.login import (
    SESSION_IDLE,
    SESSION_LONGEST,
    TRIES_OF_STRANGERS,
    TRIES_PER_ADDRESS,
    TRIES_PER_NAME,
    Attempts,
    LoginGate,
    Sessions,
)
from studio.web.login_page import login_page

OURS = "http://127.0.0.1:7860"
PASSWORD = "correct horse"
CHEAP = {"ln": 4, "r": 8, "p": 1}  # tests sign in a hundred times


def cheap(password: str) -> PasswordHash:
    salt = b"0123456789abcdef"
    return PasswordHash(salt, accounts_module._scrypt(password, salt, **CHEAP, size=32), **CHEAP)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def two() -> Accounts:
    return Accounts({"ann": cheap(PASSWORD), "bob": cheap("another password")})


@pytest.fixture
def application() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    def page() -> str:
        return "the page"

    @app.api_route("/studio/who", methods=["GET", "POST"])
    def who(request: Request) -> dict[str, Any]:
        return {key: request.scope["state"][key] for key in ("user", "visitor")}

    @app.api_route("/gradio_api/queue/join", methods=["POST"])
    def join() -> str:
        return "joined"

    @app.websocket("/studio/live")
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.scope["state"]["user"])

    return app


@pytest.fixture
def served(application: FastAPI, two: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Guard:
    monkeypatch.setattr(accounts_module, "_NOBODY", cheap("nobody's"))
    return Guard(LoginGate(application, two, clock))


def visit(served: Any, address: str = "127.0.0.1") -> TestClient:
    return TestClient(served, base_url=OURS, follow_redirects=False, client=(address, 50_000))


def sign_in(client: TestClient, name: str = "ann", password: str = PASSWORD) -> Any:
    return client.post("/studio/login", data={"name": name, "password": password}, headers={"origin": OURS})


# ---- passwords and the login file ----


def test_a_password_matches_its_own_hash_and_no_other() -> None:
    stored = PasswordHash.parse(str(PasswordHash.of(PASSWORD)))
    assert stored.matches(PASSWORD)
    for other in ("", "Correct horse", PASSWORD + " ", PASSWORD[:-1]):
        assert not stored.matches(other)


def test_the_same_password_has_another_salt_and_hash_each_time() -> None:
    one, other = PasswordHash.of(PASSWORD), PasswordHash.of(PASSWORD)
    assert one.salt != other.salt
    assert one.key != other.key
    assert PASSWORD not in str(one)


def test_the_cost_is_what_is_recommended() -> None:
    made = PasswordHash.of(PASSWORD)
    assert (made.ln, made.r, made.p) == (15, 8, 3)  # OWASP's password storage cheat sheet
    assert len(made.salt) == 16


def test_one_spelling_of_a_letter_matches_the_other() -> None:
    assert cheap("caf\u00e9 au lait").matches("cafe\u0301 au lait")


def test_a_line_that_was_made_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "login.txt"
    file.write_text(
        "# people\n\n" + make_login_line("ann", PASSWORD) + "\r\n  " + make_login_line("b.o-b@x_1", "12345678")
    )
    file.chmod(0o600)
    people = Accounts.read(file)
    assert set(people.hashes) == {"ann", "b.o-b@x_1"}
    assert people.verify("ann", PASSWORD)
    assert not people.verify("ann", "12345678")
    assert not people.verify("nobody", PASSWORD)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names nobody"),
        ("# only a comment\n", "names nobody"),
        ("ann", "Line 1 .* is not name:"),
        ("ann:secret", "Line 1 .* is not name:"),
        (":$scrypt$", "Line 1 .* no proper name"),
        ("a b:$scrypt$", "Line 1 .* no proper name"),
        ("../ann:$scrypt$", "Line 1 .* no proper name"),
        ("\n# x\nann:5f4dcc3b5aa765d61d8327deb882cf99", "Line 3 .* is not name:"),
        (
            f"ann:{PasswordHash(b'0' * 16, b'0' * 32)}\nann:{PasswordHash(b'1' * 16, b'1' * 32)}",
            "Line 2 .* names ann again",
        ),
        (f"ann:{PasswordHash(b'0' * 16, b'0' * 32, ln=30)}", "Line 1 .* costs"),
        (f"ann:{PasswordHash(b'0' * 16, b'0' * 32, ln=4)}", "Line 1 .* costs"),
        (f"ann:{PasswordHash(b'0' * 16, b'0' * 32)}x=", "Line 1 .* is not name:"),
        ("ann:$scrypt$ln=15,r=8,p=3$AAAAAAAAAAAAAAAAA$" + "A" * 43, "Line 1 .* cut short"),
    ],
)
def test_a_login_file_that_is_not_proper_is_refused_with_the_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "login.txt"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(StudioError, match=words) as refusal:
        Accounts.read(file)
    assert "scrypt$ln" not in str(refusal.value)  # no hash in a log


def test_a_login_file_that_is_missing_a_folder_too_large_or_no_text_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="cannot be read: No such file"):
        Accounts.read(tmp_path / "missing")
    with pytest.raises(StudioError, match="cannot be read"):
        Accounts.read(tmp_path)
    for content, words in ((b"#" * (2 << 20), "larger than 1 MB"), (b"\xff\xfe\x00", "not text")):
        file = tmp_path / "odd"
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(StudioError, match=words):
            Accounts.read(file)


@pytest.mark.parametrize("mode", [stat.S_IWGRP, stat.S_IWOTH])
def test_a_login_file_that_others_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "login.txt"
    file.write_text(make_login_line("ann", PASSWORD))
    file.chmod(0o600 | mode)
    with pytest.raises(Refused, match="chmod 600"):
        Accounts.read(file)


def test_the_password_is_asked_for_twice() -> None:
    asked: list[str] = []

    def same(question: str) -> str:
        asked.append(question)
        return PASSWORD

    line = ask_login_line("ann", same)
    assert asked == ["Password for ann: ", "The same again: "]
    assert PasswordHash.parse(line.removeprefix("ann:")).matches(PASSWORD)
    answers = iter([PASSWORD, "something else"])
    with pytest.raises(StudioError, match="differ"):
        ask_login_line("ann", lambda _: next(answers))


def test_names_and_passwords_that_cannot_be_used_are_refused() -> None:
    for name in ("", "a:b", "a b", "-ann", "../x", "é", "a" * 65, "ann\n"):
        with pytest.raises(StudioError, match="no proper name"):
            make_login_line(name, PASSWORD)
        with pytest.raises(StudioError, match="no proper name"):
            ask_login_line(name, lambda _: pytest.fail("asked for a password"))
    with pytest.raises(StudioError, match="at least 8"):
        make_login_line("ann", "1234567")
    with pytest.raises(StudioError, match="at most 1024"):
        make_login_line("ann", "x" * 1025)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "::1", "[::1]", "127.8.8.8"])
def test_this_computer_alone_needs_no_login(host: str) -> None:
    check_exposure(host, None)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "10.0.0.1", "studio.lan", "localhost.evil.example", "0", "128.0.0.1"]
)
def test_listening_beyond_this_computer_needs_a_login(host: str, two: Accounts) -> None:
    with pytest.raises(Refused, match="--login"):
        check_exposure(host, None)
    check_exposure(host, two)


# ---- signing in ----


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/studio/session"),
        ("GET", "/studio/assets/generate.js"),
        ("GET", "/studio/pictures/1.png"),
        ("POST", "/studio/jobs"),
        ("POST", "/studio/who"),
        ("DELETE", "/studio/login"),
        ("POST", "/studio/login/x"),
        ("GET", "/config"),
        ("GET", "/theme.css"),
        ("GET", "/assets/index.js"),
        ("POST", "/gradio_api/queue/join"),
        ("GET", "/gradio_api/queue/data"),
        ("GET", "/gradio_api/heartbeat/abc"),
        ("POST", "/gradio_api/run/predict"),
    ],
)
def test_nothing_is_reached_without_signing_in(served: Guard, method: str, path: str) -> None:
    answer = visit(served).request(method, path, headers={"origin": OURS})
    assert answer.status_code == 401
    assert answer.json() == {"error": "Sign in first."}


def test_the_page_leads_to_the_login_and_the_login_to_the_page(served: Guard) -> None:
    client = visit(served)
    assert client.get("/").headers["location"] == "/studio/login"
    assert 'type="password"' in client.get("/studio/login").text
    answer = sign_in(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client.get("/").json() == "the page"
    assert client.post("/gradio_api/queue/join").json() == "joined"
    assert client.get("/studio/who").json()["user"] == "ann"


def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(served: Guard) -> None:
    client = visit(served)
    cookies = [value for name, value in sign_in(client).headers.multi_items() if name == "set-cookie"]
    session = next(cookie for cookie in cookies if cookie.startswith("wavebrush_session="))
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in session.split(";")}
    assert "Secure" not in session
    assert len(session.partition("=")[2].partition(";")[0]) >= 43  # 256 bits


def test_over_an_encrypted_connection_the_session_stays_there(application: FastAPI, two: Accounts) -> None:
    served = protect(application, host="0.0.0.0", port=7860, allow_hosts=["studio.example"], accounts=two)
    client = TestClient(served, base_url="https://studio.example", follow_redirects=False)
    answer = client.post("/studio/login", data={"name": "ann", "password": PASSWORD})
    assert all("Secure" in value for name, value in answer.headers.multi_items() if name == "set-cookie")
    token = client.cookies["__Host-wavebrush_session"]  # which no other host, and no script of one, can set
    assert client.get("/").json() == "the page"
    stranger = TestClient(served, base_url="https://studio.example", follow_redirects=False)
    assert stranger.get("/studio/who", headers={"cookie": f"wavebrush_session={token}"}).status_code == 401
    answer = client.post("/studio/logout")
    assert "Secure" in answer.headers["set-cookie"]
    assert "__Host-wavebrush_session" not in client.cookies
    assert client.get("/studio/who").status_code == 401


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("", PASSWORD),
        ("nobody", PASSWORD),
        ("ANN", PASSWORD),
        ("ann", "another password"),
    ],
)
def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(served: Guard, name: str, password: str) -> None:
    answer = sign_in(visit(served), name, password)
    assert answer.status_code == 401
    assert "The name or the password is not right." in answer.text
    assert "wavebrush_session" not in str(answer.headers)


@pytest.mark.parametrize(
    "body",
    [b"", b"name", b"name=ann", b"\xff\xfe", b"name=%ff&password=%ff", b"a=1&" * 50, b'{"name": "ann"}'],
)
def test_a_form_that_is_none_is_a_wrong_password(served: Guard, body: bytes) -> None:
    assert visit(served).post("/studio/login", content=body).status_code == 401


def test_unknown_names_cost_as_much_as_wrong_passwords(two: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[PasswordHash] = []

    def note(self: PasswordHash, password: str) -> bool:
        tried.append(self)
        return True

    monkeypatch.setattr(PasswordHash, "matches", note)
    assert not two.verify("nobody", PASSWORD)
    assert len(tried) == 1
    assert (tried[0].ln, tried[0].r, tried[0].p) == (15, 8, 3)


def test_another_site_cannot_sign_anybody_in_or_out(served: Guard) -> None:
    client = visit(served)
    for path in ("/studio/login", "/studio/logout"):
        answer = client.post(
            path, data={"name": "ann", "password": PASSWORD}, headers={"origin": "https://evil.example"}
        )
        assert answer.status_code == 403


def test_signing_out_ends_the_session_on_the_server(served: Guard) -> None:
    client = visit(served)
    sign_in(client)
    token = client.cookies["wavebrush_session"]
    assert "Sign out" in client.get("/studio/login").text
    assert client.post("/studio/logout", headers={"origin": OURS}).headers["location"] == "/studio/login"
    assert "wavebrush_session" not in client.cookies
    assert visit(served).get("/studio/who", headers={"cookie": f"wavebrush_session={token}"}).status_code == 401


def test_a_browser_forgets_whoever_signs_out_or_is_followed_by_someone_else(served: Guard) -> None:
    client = visit(served)
    assert "clear-site-data" not in sign_in(client).headers
    assert "clear-site-data" not in sign_in(client).headers  # the same person again, whose work waits here
    assert sign_in(client, "bob", "another password").headers["clear-site-data"] == '"cache", "storage"'
    assert client.post("/studio/logout").headers["clear-site-data"] == '"cache", "storage"'


def test_signing_in_again_makes_a_new_session_and_ends_the_old(served: Guard) -> None:
    client = visit(served)
    sign_in(client)
    first = client.cookies["wavebrush_session"]
    sign_in(client)
    assert client.cookies["wavebrush_session"] != first
    assert visit(served).get("/studio/who", headers={"cookie": f"wavebrush_session={first}"}).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "0" * 43, "../..", "\u00e9"])
def test_a_token_that_was_never_given_opens_nothing(served: Guard, token: str) -> None:
    headers = [(b"cookie", f"wavebrush_session={token}".encode("latin-1"))]
    assert visit(served).get("/studio/who", headers=headers).status_code == 401


def test_a_person_is_the_same_visitor_everywhere_and_two_people_on_one_computer_are_two(
    served: Guard,
) -> None:
    one, other = visit(served), visit(served)
    sign_in(one)
    sign_in(other)
    ann = one.get("/studio/who").json()["visitor"]
    assert other.get("/studio/who").json()["visitor"] == ann
    one.post("/studio/logout")
    sign_in(one, "bob", "another password")
    bob = one.get("/studio/who").json()["visitor"]
    assert bob != ann
    assert re.fullmatch("[0-9a-f]{32}", bob)


def test_sockets_need_the_login_too(served: Guard) -> None:
    client = visit(served)
    address = OURS.replace("http", "ws") + "/studio/live"
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(address, headers={"origin": OURS}),
    ):
        pass
    sign_in(client)
    with client.websocket_connect(address, headers={"origin": OURS}) as live:
        assert live.receive_text() == "ann"


def test_the_login_page_runs_no_script_loads_nothing_and_shows_names_as_text(served: Guard) -> None:
    answer = visit(served).get("/studio/login")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy + answer.text
    assert not re.findall(r"(?:src|href)=|url\(|https?://", answer.text)
    assert "prefers-color-scheme: dark" in answer.text
    assert b"<img" not in bytes(login_page("<img src=x onerror=alert(1)>").body)


# ---- limited attempts ----


def test_a_name_is_locked_after_its_attempts_and_free_again_later(served: Guard, clock: Clock) -> None:
    for _ in range(TRIES_PER_NAME):
        assert sign_in(visit(served), password="wrong").status_code == 401
    answer = sign_in(visit(served))  # the right password does not help now
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 300
    assert "Try again in 5 minutes" in answer.text
    assert sign_in(visit(served), "bob", "another password").status_code == 303
    clock.now += int(answer.headers["retry-after"])
    assert sign_in(visit(served)).status_code == 303


def test_strangers_lock_nobody_out(served: Guard) -> None:
    assert sign_in(visit(served, "10.0.0.1")).status_code == 303
    for number in range(TRIES_OF_STRANGERS):
        assert sign_in(visit(served, f"10.1.0.{number}"), password="wrong").status_code == 401
    assert sign_in(visit(served, "10.1.1.1"), password="wrong").status_code == 429
    assert sign_in(visit(served, "10.0.0.1")).status_code == 303  # where ann was before


def test_failures_at_one_address_do_not_count_at_another(served: Guard) -> None:
    for _ in range(TRIES_PER_NAME):
        sign_in(visit(served, "10.0.0.1"), password="wrong")
    assert sign_in(visit(served, "10.0.0.1")).status_code == 429
    assert sign_in(visit(served, "10.0.0.2")).status_code == 303


def test_where_names_are_familiar_is_bounded(served: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "MAX_WATCHED", 2)
    for number in range(4):
        assert sign_in(visit(served, f"10.0.0.{number}")).status_code == 303
    assert isinstance(served.app, LoginGate)
    assert len(served.app._familiar) == 2


def test_an_address_is_locked_whatever_names_it_tries(served: Guard) -> None:
    for number in range(TRIES_PER_ADDRESS):
        assert sign_in(visit(served, "10.0.0.1"), f"name{number}", "wrong").status_code == 401
    assert sign_in(visit(served, "10.0.0.1")).status_code == 429
    assert sign_in(visit(served, "10.0.0.2")).status_code == 303


def test_an_ipv6_customer_is_one_address(served: Guard) -> None:
    for number in range(TRIES_PER_ADDRESS):
        sign_in(visit(served, f"2001:db8::{number:x}"), f"name{number}", "wrong")
    assert sign_in(visit(served, "2001:db8::ffff:1")).status_code == 429
    assert sign_in(visit(served, "2001:db8:0:1::1")).status_code == 303


def test_a_right_password_forgives_the_failures_of_its_name(served: Guard) -> None:
    for _ in range(3):
        for _ in range(TRIES_PER_NAME - 1):
            sign_in(visit(served), password="wrong")
        assert sign_in(visit(served)).status_code == 303


def test_attempts_at_the_same_time_do_not_get_around_the_limit(served: Guard) -> None:
    with ThreadPoolExecutor(12) as pool, visit(served) as client:
        statuses = list(pool.map(lambda _: sign_in(client, password="wrong").status_code, range(12)))
    assert statuses.count(401) == TRIES_PER_NAME
    assert statuses.count(429) == 12 - TRIES_PER_NAME


def test_what_is_remembered_of_strangers_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "MAX_WATCHED", 100)
    attempts = Attempts(3, clock=clock)
    for number in range(1000):
        attempts.count(f"key{number}")
    assert len(attempts._failures) == 100
    clock.now += 301
    assert attempts.wait("key999") == 0
    assert len(attempts._failures) == 99  # what has gone by is forgotten when it is asked for


# ---- sessions ----


def test_a_session_ends_when_it_is_not_used_and_at_the_latest_after_a_week(clock: Clock) -> None:
    sessions = Sessions(clock)
    token = sessions.begin("ann")
    clock.now += SESSION_IDLE
    assert sessions.name(token) == "ann"
    clock.now += SESSION_IDLE + 1
    assert sessions.name(token) is None
    token = sessions.begin("ann")
    for _ in range(int(SESSION_LONGEST / SESSION_IDLE)):
        clock.now += SESSION_IDLE
        assert sessions.name(token) == "ann"
    clock.now += 1
    assert sessions.name(token) is None


def test_sessions_are_bounded_and_the_longest_unused_makes_room(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "MAX_SESSIONS", 2)
    sessions = Sessions(clock)
    first, second = sessions.begin("ann"), sessions.begin("bob")
    sessions.name(first)
    third = sessions.begin("cid")
    assert [sessions.name(token) for token in (first, second, third)] == ["ann", None, "cid"]


def test_one_person_cannot_end_the_sessions_of_others(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "MAX_PER_NAME", 2)
    sessions = Sessions(clock)
    bob, *anns = sessions.begin("bob"), *(sessions.begin("ann") for _ in range(4))
    assert [sessions.name(token) for token in (bob, *anns)] == ["bob", None, None, "ann", "ann"]
    assert len(sessions._sessions) == 3


def test_whoever_found_too_many_signing_in_has_not_failed(served: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    client = visit(served)
    with monkeypatch.context() as patch:
        patch.setattr(login, "MAX_WAITING", 0)
        for _ in range(login.TRIES_PER_NAME + 1):
            answer = sign_in(client)
            assert (answer.status_code, "signing in" in answer.text) == (429, True)
    assert sign_in(client).status_code == 303


def test_tokens_are_kept_as_digests(clock: Clock) -> None:
    sessions = Sessions(clock)
    token = sessions.begin("ann")
    assert token not in repr(sessions._sessions)
    assert token.encode() not in sessions._sessions
