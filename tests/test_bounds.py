"""Packages whose private parts are used have an upper bound in pyproject.toml, and the installed version is below it.

Their public interface is stable. A new version may change the rest without notice, and an installation without the lock
file would then break.
"""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
# What each package is used for beyond its public interface, and the tests that show that it still works.
PRIVATE = {
    "uvicorn": ("server/http.py, server/protocol.py and server/children.py build on its classes", "tests/server"),
    "prometheus-client": ("metrics.py and server/metrics_sum write its values", "tests/test_metrics.py tests/server"),
    "psycopg": ("store/db uses its generators and Transformer", "tests/store"),
}


def requirement(name: str) -> Requirement:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (found,) = [one for one in map(Requirement, project["dependencies"]) if one.name == name]
    return found


def advice(allowed: Requirement, version: str) -> str:
    """What to do about an installed version; "" if it is allowed."""
    if allowed.specifier.contains(version, prereleases=True):
        return ""
    uses, tests = PRIVATE[allowed.name]
    return (
        f"{allowed.name} {version} is installed, and pyproject.toml allows {allowed.specifier}: {uses}."
        f" Run {tests} with the new version, correct what broke, then raise the bound and run `make lock`."
    )


@pytest.mark.parametrize("name", PRIVATE)
def test_a_package_whose_private_parts_are_used_is_below_its_bound(name: str):
    allowed, version = requirement(name), metadata.version(name)
    assert any(one.operator == "<" for one in allowed.specifier), f"{name} needs an upper bound in pyproject.toml"
    assert not (text := advice(allowed, version)), text


def test_at_the_bound_the_sentence_names_the_package_and_what_to_do():
    text = advice(Requirement("uvicorn>=0.54,<0.55"), "0.55.0")
    assert text.startswith("uvicorn 0.55.0 is installed, and pyproject.toml allows <0.55,>=0.54: server/http.py")
    assert "Run tests/server with the new version" in text and text.endswith("run `make lock`.")
