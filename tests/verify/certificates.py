"""A small server on the loopback that publishes keys as Google does, and tokens signed with them.

Key            a private key with its id: its certificate, its JWK, a token signed by it
Source         what the server answers, and how often it was asked
publishing()   the server, as a context
claims()       what the ID token of somebody who has proven a phone says
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

PROJECT = "demo-ringbook"
PHONE = "+12025550142"


@dataclass(frozen=True)
class Key:
    """A key of the tests' own."""

    id: str

    @cached_property
    def private(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, 2048)

    @cached_property
    def public_pem(self) -> str:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @cached_property
    def certificate(self) -> str:
        """The public key in a certificate that the key has signed itself, PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "securetoken.example")])
        made = x509.CertificateBuilder(name, name, self.private.public_key(), x509.random_serial_number())
        made = made.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2090, 1, 1, tzinfo=UTC))
        return made.sign(self.private, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    @cached_property
    def jwk(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return public | {"kid": self.id, "use": "sig", "alg": "RS256"}

    def token(self, said: dict[str, Any], **header: Any) -> str:
        """A token that says so, signed by this key; `kid=None` leaves the key's id out."""
        names = {name: value for name, value in ({"kid": self.id} | header).items() if value is not None}
        return jwt.encode(said, self.private, "RS256", headers=names)


def claims(now: int, **others: Any) -> dict[str, Any]:
    """The claims of a fresh token; one that is None is left out."""
    usual = {
        "iss": f"https://securetoken.google.com/{PROJECT}",
        "aud": PROJECT,
        "iat": now,
        "exp": now + 3600,
        "sub": "subject-1",
        "phone_number": PHONE,
    }
    return {name: value for name, value in (usual | others).items() if value is not None}


@dataclass
class Source:
    """What the server answers; a test may change all of it at any time."""

    url: str
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_seconds: float = 0.0
    paths: list[str] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """How many requests there were."""
        return len(self.paths)

    def certificates(self, *keys: Key) -> None:
        """Publish these keys as certificates by key id, as Google does for Firebase."""
        self.body = json.dumps({key.id: key.certificate for key in keys}).encode()

    def jwk_set(self, *keys: Key) -> None:
        """Publish these keys as a JWK set."""
        self.body = json.dumps({"keys": [key.jwk for key in keys]}).encode()


@contextmanager
def publishing(*keys: Key, max_age: int = 3600) -> Iterator[Source]:
    """A server that publishes these keys."""
    with answering() as source:
        source.headers = {"Cache-Control": f"public, max-age={max_age}, must-revalidate, no-transform"}
        source.certificates(*keys)
        yield source


@contextmanager
def answering(body: bytes = b"") -> Iterator[Source]:
    """A server that answers what its source says."""
    server = Publisher(("127.0.0.1", 0), Answering)
    server.source = Source(f"http://127.0.0.1:{server.server_port}/here", body)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.source
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Publisher(ThreadingHTTPServer):
    """The server; that somebody hung up before the answer is what some tests want."""

    source: Source

    def handle_error(self, *_where: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_where)


class Answering(BaseHTTPRequestHandler):
    """Answers every GET with what the source says at that moment."""

    server: Publisher

    def do_GET(self) -> None:
        source = self.server.source
        source.paths.append(self.path)
        time.sleep(source.wait_seconds)
        self.send_response(source.status)
        for name, value in source.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(source.body)))
        self.end_headers()
        self.wfile.write(source.body)

    def log_message(self, *_words: Any) -> None:
        """A test's output is for the test."""
