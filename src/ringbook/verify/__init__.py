"""The world: proofs from outside that somebody is who they say. Nothing here opens a transaction.

Outside       what a process needs to ask outside: how to make requests, and Firebase's certificates
"""

from dataclasses import dataclass

from ..config import Config
from ..outbound.requests import Outgoing, Turns
from .firebase import CERTIFICATES_URL, Certificates

# Of the threads that may also hash passwords (`api/routes.py`): what is slow outside leaves half of them to others.
AT_ONCE, AT_ONE_SERVER = 8, 6


@dataclass(frozen=True, slots=True)
class Outside:
    """`certificates` is None where the Firebase Auth emulator stands in for Firebase: it signs nothing."""

    outgoing: Outgoing
    certificates: Certificates | None

    @classmethod
    def of(cls, config: Config) -> "Outside":
        """As the process is configured."""
        turns = Turns(AT_ONCE, AT_ONE_SERVER)
        outgoing = Outgoing.of(config, turns)
        if config.firebase_auth_emulator_host:
            return cls(outgoing, None)
        # One thread fetches the certificates for all applications: it waits for nobody's turn.
        # Where the operator has named an address, it may be a private one: no user and no application said so.
        url = config.firebase_certificates_url
        source = Outgoing(True, config.ca_file) if url else Outgoing.of(config)
        return cls(outgoing, Certificates(source, url or CERTIFICATES_URL))
