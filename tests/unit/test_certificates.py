"""The options of HTTPS: what is served with them, what is wrong with them, and the word when they are missing."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from studio.__main__ import main
from studio.commands import serve
from studio.settings import Settings
from studio.web.accounts import make_login_line

CERTIFICATE = Path(__file__).parents[1] / "data" / "localhost.pem"
OTHER_KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4JuyV/qIZWjU+ndN
P8iQflKWJgRsjWq2M94Nrk50GVehRANCAATBR55UEnVI1sNiV+6soEsTFCzHEohg
LI6vQCGCR/l7VhCX6PasGhk2FFMxOVQ3c6qMorgJxYMCzP3RaxH95Ubm
-----END PRIVATE KEY-----
"""
LOCKED_KEY = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhetCDH3yCF/gICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEN32zbrQOyK4f5VairezLCUEgZAm
gnT1KPeoX8DToOhgdhRy51vfX26+9tGUjMjnaU7WZVE8WiR9AkkITUKwK1anLcbR
A86lik6UUO6/xBlP+9oVHvIBbCHp5b7CdfgN8Br58wTN+mIOgzNP/vmFZjgsSQOx
OVEgpDpwCgA+ri/ggTLw86KA4qQz2FbkO/nrXzafXARL3sxbeXZYoV6T2+DoIoI=
-----END ENCRYPTED PRIVATE KEY-----
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    seen: list[Settings] = []
    monkeypatch.setitem(sys.modules, "studio.web.server", types.SimpleNamespace(serve=seen.append))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    return seen


def _serve(folder: Path, *options: str | Path) -> int:
    return main(["serve", "--data", str(folder / "data"), "--no-browser", *map(str, options)])


def _parts(folder: Path) -> tuple[Path, Path]:
    """The certificate and its key in a file each."""
    text = CERTIFICATE.read_text()
    cut = text.index("-----BEGIN PRIVATE KEY")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(text[:cut])
    key.write_text(text[cut:])
    return certificate, key


def test_a_certificate_with_its_key_makes_the_address_https(served: list[Settings], tmp_path: Path) -> None:
    certificate, key = _parts(tmp_path)
    assert _serve(tmp_path, "--certificate", CERTIFICATE) == 0
    assert _serve(tmp_path, "--certificate", certificate, "--key", key) == 0
    assert [(each.certificate, each.key) for each in served] == [(CERTIFICATE, None), (certificate, key)]
    assert {each.address for each in served} == {"https://127.0.0.1:7860/"}


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("missing.pem", None, "missing.pem cannot be read: No such file"),
        ("certificate.pem", "missing.pem", "missing.pem cannot be read"),
        ("certificate.pem", None, "no certificate with its key"),
        ("key.pem", None, "no certificate with its key"),
        ("empty.pem", None, "no certificate with its key"),
        ("certificate.pem", "other.pem", "no certificate with its key"),
        ("certificate.pem", "locked.pem", "has a password"),
        (None, "key.pem", "without its certificate"),
    ],
)
def test_what_is_wrong_with_them_is_said_before_anything_starts(
    served: list[Settings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    certificate: str | None,
    key: str | None,
    words: str,
) -> None:
    _parts(tmp_path)
    (tmp_path / "empty.pem").touch()
    (tmp_path / "other.pem").write_text(OTHER_KEY)
    (tmp_path / "locked.pem").write_text(LOCKED_KEY)
    options = [("--certificate", certificate), ("--key", key)]
    given = [str(word) for name, file in options if file for word in (name, tmp_path / file)]
    assert _serve(tmp_path, *given) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert served == []
    assert not (tmp_path / "data").exists()


def test_a_network_that_reads_along_is_spoken_of(
    served: list[Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = tmp_path / "people.txt"
    people.write_text(make_login_line("ann", "correct horse"))
    people.chmod(0o600)
    for options, spoken in (
        (("--host", "0.0.0.0", "--login", people), True),
        (("--host", "0.0.0.0", "--login", people, "--certificate", CERTIFICATE), False),
        (("--login", people), False),
        ((), False),
    ):
        assert _serve(tmp_path, *options) == 0
        assert ("readable to everybody" in capsys.readouterr().err) == spoken


def test_the_server_may_have_more_files_open_than_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    limits = (256, 4096)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: asked.append(wanted))
    asked: list[tuple[int, int]] = []
    serve._allow_files()
    limits = (4096, resource.RLIM_INFINITY)
    serve._allow_files()
    limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    serve._allow_files()
    assert asked == [(4096, 4096), (serve.FILES, resource.RLIM_INFINITY)]


def test_a_proxy_is_believed_only_if_it_was_asked_for(served: list[Settings], tmp_path: Path) -> None:
    assert _serve(tmp_path) == 0
    assert _serve(tmp_path, "--proxy") == 0
    assert [each.proxy for each in served] == [False, True]
