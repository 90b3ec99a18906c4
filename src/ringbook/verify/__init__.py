"""The world: proofs from outside that somebody is who they say. Nothing here opens a transaction.

Outside       what a process needs to ask outside: how to make requests, and Firebase's certificates
"""

from dataclasses import dataclass

from ..config import Config
from ..outgoing import Outgoing
from .firebase import CERTIFICATES_URL, Certificates


@dataclass(frozen=True, slots=True)
class Outside:
    """`certificates` is None where the Firebase Auth emulator stands in for Firebase: it signs nothing."""

    outgoing: Outgoing
    certificates: Certificates | None

    @classmethod
    def of(cls, config: Config) -> "Outside":
        """As the process is configured."""
        outgoing = Outgoing(config.allow_private_addresses, config.ca_file)
        if config.firebase_auth_emulator_host:
            return cls(outgoing, None)
        # Where the operator has named an address, it may be a private one: no user and no application said so.
        named = Outgoing(allow_private=True, ca_file=config.ca_file)
        url = config.firebase_certificates_url
        return cls(outgoing, Certificates(named, url) if url else Certificates(outgoing, CERTIFICATES_URL))
