"""`ringbook openapi`: print the description of the API."""

from . import common


def openapi() -> None:
    """Print the API's description (OpenAPI 3.1, JSON)."""
    from ..api import openapi

    common.say_json(openapi.document())
