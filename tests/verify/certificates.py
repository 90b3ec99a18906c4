"""A small server on the loopback that publishes keys as Google does, and tokens signed with them.

Key            a private key with its id: its certificate, its JWK, a token signed by it
publishing()   the server, as a context; Source says what it answers, and was asked
claims()       what the ID token of a user who has verified a phone
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from verify.gateway import Gateway, listening

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


class Source(Gateway):
    """Where the keys are published; a test may change all of its answer at any time."""

    def certificates(self, *keys: Key) -> None:
        """Publish these keys as certificates by key id, as Google does for Firebase."""
        self.body = json.dumps({key.id: key.certificate for key in keys}).encode()

    def jwk_set(self, *keys: Key) -> None:
        """Publish these keys as a JWK set."""
        self.body = json.dumps({"keys": [key.jwk for key in keys]}).encode()


@contextmanager
def publishing(*keys: Key, max_age: int = 3600) -> Iterator[Source]:
    """A server that publishes these keys."""
    with listening(kind=Source) as source:
        source.headers = {"Cache-Control": f"public, max-age={max_age}, must-revalidate, no-transform"}
        source.certificates(*keys)
        yield source
