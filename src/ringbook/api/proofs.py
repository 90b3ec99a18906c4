"""Reads proofs of identity from requests: provider tokens and one-time codes (protocol §2.1, §2.3, docs/api.md).

provider           the provider in a request, "" without one
asks_for_code      is the request the first step of a sign-in by code?
ask_for_code       the first step
user_of            the user of the proof in a request, found or created
verified_phone       the phone that a request verifies
user_of_provider   the user that the application's own identity provider has verified
"""

from typing import Any

from .. import errors
from ..core import charging, codes, proofs, rate_limits, users
from ..model import App
from ..verify import cidp, firebase
from .endpoint import Answer, Call
from .shapes.proofs import CodeAsked, CodeOut, FirebaseIn, PhoneIn
from .wire import iso, named, take

FIREBASE = ("firebase_phone", "firebase_email")
NAMES = {"token": "access_token"}  # of fields in requests, by their names in core and verify
PHONE = "number, or with request_id and code (createSession of the SDK for JavaScript leaves it out: use login)"
PROVIDERS = (*FIREBASE, "phone", "facebook", "twitter")


def provider(values: dict[str, Any]) -> str:
    """The provider, given by its name or by its object; "" without one."""
    named = values.get("provider")
    if named is None or named == "":
        return next((name for name in PROVIDERS if isinstance(values.get(name), dict)), "")
    if named not in (*FIREBASE, "phone"):
        known = named if named in PROVIDERS else "this provider"
        reason = f"signing in with {known} is not supported by this server: use {', '.join((*FIREBASE, 'phone'))}"
        raise errors.Invalid(reason, field="provider")
    return str(named)


def asks_for_code(values: dict[str, Any]) -> bool:
    """Has the request a number but no code? With a `request_id` it is the second step, and its code is missing."""
    given = values.get("phone")
    asked = isinstance(given, dict) and not (given.get("code") or given.get("request_id"))
    return provider(values) == "phone" and asked


def ask_for_code(call: Call, app: App) -> Answer:
    """Sends a code to a number. The answer does not show whether a user has the number."""
    given = take(PhoneIn, call.values.get("phone"), field="phone")
    if not given.number:
        raise errors.Invalid("can't be blank", field="number")
    limits, outgoing = call.config.limits, call.outside.outgoing
    sent = codes.send(call.db, limits, app, outgoing, given.number, call.address, call.now)
    return Answer(CodeAsked(CodeOut(sent.request_id, iso(sent.expires_at), iso(sent.resend_at))), status=202)


def user_of(call: Call, app: App) -> int:
    """The id of the user of the proof, found or created."""
    limits = call.config.limits
    if provider(call.values) == "firebase_email":
        with named(NAMES):
            return proofs.by_email(call.db, limits, app, firebase_proof(call, app), call.address, call.now)
    return proofs.by_phone(call.db, limits, app, verified_phone(call, app), call.address, call.now)


def verified_phone(call: Call, app: App) -> str:
    """The phone that the request verifies, as the provider or the app has written it."""
    name = provider(call.values)
    if name == "phone":
        given = take(PhoneIn, _there(call, "phone", PHONE), field="phone")
        if not given.request_id:
            raise errors.Invalid("request_id and code are required", field="phone")
        if not given.code:
            raise errors.Invalid("can't be blank", field="code")
        return codes.verify(call.db, app, given.request_id, given.code, call.now, address=call.address)
    if name != "firebase_phone":
        raise errors.Invalid("verifies no phone number", field="provider")
    proof = firebase_proof(call, app)
    if not proof.phone:
        raise errors.Invalid("the Firebase token holds no phone number", field="access_token")
    return proof.phone


def firebase_proof(call: Call, app: App) -> firebase.Proof:
    """The content of the ID token. The project comes from the application's settings, never from the request."""
    project = app.settings.firebase_project_id
    if not project:
        reason = f"Firebase is not set up for this application: `ringbook app set {app.id} firebase_project_id PROJECT`"
        raise errors.Invalid(reason, field="provider")
    name = provider(call.values)
    given = take(FirebaseIn, _there(call, name, "access_token"), field=name)
    if not given.access_token:
        raise errors.Invalid("can't be blank", field="access_token")
    if given.project_id not in (None, "", project):
        raise errors.Invalid("is not this application's Firebase project", field="project_id")
    with named(NAMES):
        return firebase.verify(given.access_token, project, call.outside.certificates, call.now)


def _there(call: Call, name: str, holds: str) -> Any:
    """The object of a provider. Raises Invalid with its fields, because some SDKs leave the object out."""
    if call.values.get(name) is None:
        raise errors.Invalid(f"is missing: an object with {holds}", field=name)
    return call.values[name]


def user_of_provider(call: Call, app: App, login: str, password: str, *, charged: bool) -> int:
    """The id of the user that the application's identity provider verifies by this log-in. Limits guessing.

    charged   the attempt was charged before, when the password was compared with one of this server
    """
    tries = rate_limits.log_in(call.config.limits, app.id, users.bucket_name(login, ""), call.address)
    with charging.charge_guess(call.db, tries, call.now, charged=charged):
        identity = cidp.identify(app.settings, call.outside.outgoing, login, password)
    return proofs.by_provider(call.db, call.config.limits, app, identity, call.address, call.now)
