"""Converts requests, answers and errors to and from the types of the HTTP library. No other module knows these types.

checked_url(url)            the server's address, validated
checked_key(auth_key)       the auth key, validated
is_valid_token(token)       whether a header can hold the token
is_unencrypted(url)         whether requests go over a network without TLS
request_arguments(step)     a step as arguments of the library's `request`
to_answer(response)         the library's response as an `Answer`
to_error(error)             the library's exception as one of `errors`
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2

from . import errors
from .retries import Send
from .version import __version__
from .wire import Answer

NOT_SENT_ERRORS = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
USER_AGENT = f"ringbook-client/{__version__}"


def checked_url(url: str) -> str:
    """The address without a trailing slash. Raises ValueError if it is not an http or https address."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL()
    if parsed.scheme not in ("http", "https") or not _has_valid_host(parsed) or set(" ?#") & set(url):
        raise ValueError(f"{url!r} is not the address of a server: it must look like https://book.example.com")
    return url.rstrip("/")


def is_unencrypted(url: str) -> bool:
    """Whether requests go over a network without TLS. Addresses of this machine do not count."""
    parsed = httpx2.URL(url)
    return parsed.scheme == "http" and not re.fullmatch(r"localhost|127(\.\d+){3}|::1", parsed.host)


def _has_valid_host(url: httpx2.URL) -> bool:
    """Whether the host has valid DNS labels (RFC 1035, section 2.3.4) and the port is in range."""
    labels = url.raw_host.decode("ascii").removesuffix(".").split(".")
    return all(0 < len(label) < 64 for label in labels) and (url.port is None or 0 < url.port < 65536)


def is_valid_token(token: str) -> bool:
    """Whether a header can hold the token."""
    return token.isascii() and token.isprintable()


def checked_key(auth_key: str) -> str:
    """The auth key. Raises ValueError if it is empty or has a character that no auth key has."""
    if not (auth_key and auth_key.isascii() and auth_key.isprintable() and " " not in auth_key):
        raise ValueError("this is not an auth key: on the server, `ringbook app show ID --secrets` shows it")
    return auth_key


def request_arguments(base: str, step: Send) -> dict[str, Any]:
    """The step as arguments of the library's `request`."""
    request = step.request
    token = {"CB-Token": step.token} if step.token else {}
    content_type = {} if request.body is None else {"Content-Type": "application/json"}
    return {
        "method": request.method,
        "url": base + request.path,
        "params": request.query or None,
        "content": None if request.body is None else json_bytes(request.body),
        "headers": {"User-Agent": USER_AGENT, **content_type, **request.headers, **token},
        "follow_redirects": False,  # never send the token to another server
    }


def json_bytes(body: Any) -> bytes:
    """The body as JSON in UTF-8. A lone surrogate is escaped, since UTF-8 cannot encode it; the server rejects it."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


def to_answer(response: httpx2.Response) -> Answer:
    """The library's response as an `Answer`."""
    if response.is_redirect:
        raise errors.BadAnswer(f"the server redirects to another address ({response.status_code}): use that address")
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def to_error(error: httpx2.RequestError) -> errors.RingbookError:
    """The exception for a request without an answer. Its text quotes nothing of the request."""
    if isinstance(error, httpx2.DecodingError):
        return errors.BadAnswer("the answer cannot be decompressed")
    if isinstance(error, httpx2.TimeoutException):
        unreachable: errors.Unreachable = errors.TimedOut("the server did not answer in time")
    else:
        # Other exceptions of the library may quote the request, such as the header with the token.
        why = str(error) if isinstance(error, httpx2.ConnectError) else type(error).__name__
        unreachable = errors.Unreachable(f"the server cannot be reached ({why})")
    unreachable.sent = not isinstance(error, NOT_SENT_ERRORS)
    return unreachable
