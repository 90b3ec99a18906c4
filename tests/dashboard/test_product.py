"""The picture in README.md shows what a server stored, printed and showed."""

import struct

import pytest
from dashboard import product
from dashboard.browsing import opened


@pytest.fixture
def printing(databases, tmp_path):
    with databases.fresh("sqlite") as url, product.printing(url, tmp_path) as served:
        yield served


def test_the_picture_shows_the_stored_book_and_the_push_that_the_worker_printed(chromium, printing, tmp_path):
    server, world = printing
    shown = product.play(server, world)
    assert shown.text == "Your friend Annie joined."
    assert {one["name"]: one["phone"] for one in shown.book} == product.BOOK
    with opened(chromium, server, viewport=product.SIZE) as page:
        page.set_content(product.filled(shown, b""))
        assert page.locator(".push .text").inner_text() == shown.text
        assert page.locator(".row.new").inner_text().split("\n")[0] == "Annie"
        assert page.locator(".badge").count() == len(shown.registered) == 6


def test_the_pictures_in_the_repository_have_the_size_that_is_drawn():
    for scheme in ("light", "dark"):
        picture = (product.FOLDER / f"product-{scheme}.png").read_bytes()
        assert struct.unpack(">II", picture[16:24]) == (product.SIZE["width"], product.SIZE["height"])
        assert len(picture) < 200_000
