"""Verification of users: Firebase tokens, one-time codes by SMS, and identity providers. No transactions here.

Outside       what verification needs from the network: outgoing requests and Firebase's certificates
"""

from dataclasses import dataclass

from ..config import Config
from ..outbound.requests import Outgoing, Turns
from .firebase import CERTIFICATES_URL, Certificates

# These requests use threads that also hash passwords (`api/routes.py`). Slow servers may occupy half of them.
AT_ONCE, AT_ONE_SERVER = 8, 6


@dataclass(frozen=True, slots=True)
class Outside:
    """`certificates` is None when the Firebase Auth emulator replaces Firebase: its tokens are not signed."""

    outgoing: Outgoing
    certificates: Certificates | None

    @classmethod
    def of(cls, config: Config) -> "Outside":
        """Made from the configuration of the process."""
        turns = Turns(AT_ONCE, AT_ONE_SERVER)
        outgoing = Outgoing.of(config, turns)
        if config.firebase_auth_emulator_host:
            return cls(outgoing, None)
        # One thread fetches the certificates for all applications, so no turns are needed.
        # An address that the operator has set may be private, because no user or application chose it.
        url = config.firebase_certificates_url
        source = Outgoing(True, config.ca_file) if url else Outgoing.of(config)
        return cls(outgoing, Certificates(source, url or CERTIFICATES_URL))
