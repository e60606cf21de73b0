"""Who may sign in: accounts from a login file, the lines of such a file, and when one is needed.

A login file has one line per person, made by `python -m studio login NAME`:

    ann:$scrypt$ln=15,r=8,p=3$<salt>$<hash>

Passwords are stored as salted scrypt hashes only, and compared in constant time. No request is known
here.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.errors import Refused, StudioError

MIN_PASSWORD = 8  # characters
MAX_PASSWORD = 1024  # bytes
MAX_LOGIN_FILE = 1024 * 1024  # bytes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(
    r"\$scrypt\$ln=(?P<ln>\d{1,2}),r=(?P<r>\d{1,2}),p=(?P<p>\d{1,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{16,86})\$(?P<key>[A-Za-z0-9+/]{43,86})"
)


@dataclass(frozen=True)
class PasswordHash:
    """A salted scrypt hash. Cost: 2**ln iterations of r * 128 bytes, p times over."""

    salt: bytes
    key: bytes
    ln: int = 15
    r: int = 8
    p: int = 3

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        """Hashes a password with a salt of its own. About a quarter of a second and 32 MB."""
        salt = secrets.token_bytes(16)
        return cls(salt, _scrypt(password, salt, cls.ln, cls.r, cls.p, 32))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Reads what `str` wrote. Raises ValueError for anything else and for costs beyond the usual."""
        parsed = _HASH.fullmatch(text)
        if parsed is None:
            raise ValueError("is not name:$scrypt$... as made by 'python -m studio login NAME'")
        ln, r, p = (int(parsed[name]) for name in ("ln", "r", "p"))
        if not (14 <= ln <= 18 and 8 <= r <= 16 and 1 <= p <= 16):
            raise ValueError("has costs that this studio does not use (ln 14 to 18, r 8 to 16, p 1 to 16)")
        try:
            return cls(_unbase64(parsed["salt"]), _unbase64(parsed["key"]), ln, r, p)
        except binascii.Error:
            raise ValueError("is cut short") from None

    def __str__(self) -> str:
        return f"$scrypt$ln={self.ln},r={self.r},p={self.p}${_base64(self.salt)}${_base64(self.key)}"

    def matches(self, password: str) -> bool:
        """Compares in constant time."""
        tried = _scrypt(password, self.salt, self.ln, self.r, self.p, len(self.key))
        return hmac.compare_digest(tried, self.key)


_NOBODY = PasswordHash(b"\0" * 16, b"\0" * 32)  # what unknown names are tried against: it takes as long


@dataclass(frozen=True)
class Accounts:
    """Who may sign in: names and password hashes."""

    hashes: Mapping[str, PasswordHash]

    @classmethod
    def read(cls, path: Path) -> Accounts:
        """Reads a login file; empty lines and lines that begin with # are passed over.

        Raises StudioError, naming the line, if it cannot be read, is not proper, or may be changed by others.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(MAX_LOGIN_FILE + 1)
        except OSError as problem:
            raise StudioError(f"The login file {path} cannot be read: {problem.strerror}.") from problem
        if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Refused(f"Others may change the login file {path}. Use: chmod 600 {path}")
        if len(data) > MAX_LOGIN_FILE:
            raise StudioError(f"The login file {path} is larger than {MAX_LOGIN_FILE >> 20} MB.")
        try:
            lines = data.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise StudioError(f"The login file {path} is not text.") from None
        hashes: dict[str, PasswordHash] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, _, text = line.strip().partition(":")
            try:
                _check_name(name)
                if name in hashes:
                    raise ValueError(f"names {name} again")
                hashes[name] = PasswordHash.parse(text)
            except ValueError as problem:
                raise StudioError(f"Line {number} of the login file {path} {problem}.") from None
        if not hashes:
            raise StudioError(f"The login file {path} names nobody. Add a line: python -m studio login NAME")
        return cls(hashes)

    def verify(self, name: str, password: str) -> bool:
        """Whether this is the password of that name; takes as long if there is no such name."""
        stored = self.hashes.get(name, _NOBODY)
        return stored.matches(password) and name in self.hashes


def make_login_line(name: str, password: str) -> str:
    """The line of a login file for this person, without a line end.

    Raises StudioError for a name or a password that cannot be used.
    """
    _checked_name(name)
    if len(password) < MIN_PASSWORD:
        raise StudioError(f"The password is too short: use at least {MIN_PASSWORD} characters.")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD:
        raise StudioError(f"The password is too long: at most {MAX_PASSWORD} bytes can be used.")
    return f"{name}:{PasswordHash.of(password)}"


def ask_login_line(name: str, ask: Callable[[str], str] = getpass.getpass) -> str:
    """Asks for a password twice, without showing it, and makes the line.

    Raises StudioError if the name or the password cannot be used, or if the two differ.
    """
    _checked_name(name)
    password = ask(f"Password for {name}: ")
    if ask("The same again: ") != password:
        raise StudioError("The two passwords differ. Nothing was made.")
    return make_login_line(name, password)


def check_exposure(host: str, login: object, allow_hosts: Iterable[str] = ()) -> None:
    """Raises Refused if others could reach a studio without a login.

    That is so if it listens beyond this computer, or if it answers to names that are not this computer's own
    (behind a proxy, that is how others reach it). `login` is anything that stands for one, None for none.
    """
    if login is not None:
        return
    advice = "Make a login with 'python -m studio login NAME > login.txt' and start with --login login.txt"
    if not _is_loopback(host):
        where = f"on {host}" if host else "on every address"
        raise Refused(
            f"Listening {where} lets everybody in the network use this studio. {advice}, or leave --host out "
            "to stay on this computer."
        )
    for entry in allow_hosts:
        if not _is_loopback(_without_port(entry)):
            raise Refused(f"Answering to the name {entry} lets others use this studio. {advice}.")


def _checked_name(name: str) -> str:
    try:
        _check_name(name)
    except ValueError as problem:
        raise StudioError(f"'{name[:80]}' {problem}.") from None
    return name


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("has no proper name: up to 64 letters, digits and . _ @ - can be used")


def _scrypt(password: str, salt: bytes, ln: int, r: int, p: int, size: int) -> bytes:
    text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")  # "é" has two spellings
    memory = 128 * r * (2**ln + p) + 2**20
    return hashlib.scrypt(text, salt=salt, n=2**ln, r=r, p=p, maxmem=memory, dklen=size)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _is_loopback(host: str) -> bool:
    bare = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"


def _without_port(entry: str) -> str:
    """The host of an --allow-host entry."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry if entry.count(":") > 1 else entry.partition(":")[0]
