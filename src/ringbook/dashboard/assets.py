"""The dashboard's static files: styles, scripts, icon."""

from pathlib import Path

from ..exchange.assets import Assets

FILES = Assets(Path(__file__).parent / "static", "/dashboard/static")
