"""`ringbook openapi`: print the description of the API."""

from . import common


def openapi() -> None:
    """Print the description of the API (OpenAPI 3.1, JSON)."""
    from ..api import openapi

    common.print_json(openapi.document())
