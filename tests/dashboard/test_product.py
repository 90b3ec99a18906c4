"""The picture in README.md shows what a server stored, printed and showed."""

import struct

import pytest
from dashboard import product
from dashboard.browsing import opened
from people import BOB_BOOK


@pytest.fixture
def demo(databases, tmp_path):
    with databases.fresh("sqlite") as url, product.demonstrated(url, tmp_path, joining=12) as made:
        yield made


def test_the_picture_shows_the_stored_book_and_the_push_that_the_worker_printed(chromium, demo):
    said = product.shown(demo)
    assert said.text == "Your friend Annie joined."
    assert [(one["name"], one["phone"]) for one in said.book] == list(BOB_BOOK)
    with opened(chromium, demo.server, viewport=product.SIZE) as page:
        page.set_content(product.filled(said, b""))
        assert page.locator(".push .text").inner_text() == said.text
        assert page.locator(".row.new").inner_text().split("\n")[0] == "Annie"
        assert page.locator(".badge").count() == len(said.registered) == 6


def test_the_pictures_in_the_repository_have_the_size_that_is_drawn():
    for scheme in ("light", "dark"):
        picture = (product.FOLDER / f"product-{scheme}.png").read_bytes()
        assert struct.unpack(">II", picture[16:24]) == (product.SIZE["width"], product.SIZE["height"])
        assert len(picture) < 200_000
