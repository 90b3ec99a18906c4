"""Pictures of every page for the documentation, wide and narrow: `make pictures` writes docs/images/dashboard/.

draw(browser, server, world, folder)    the files that were written
"""

import contextlib
import sys
import tempfile
from collections.abc import Container
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from dashboard.browsing import browser, log_in, opened  # noqa: E402  after the path is set, when it is run by itself
from dashboard.visiting import make_admin  # noqa: E402
from dashboard.world import World, fill, paths  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402
from servers import Databases, Server, serve  # noqa: E402

FOLDER = Path(__file__).parent.parent.parent / "docs" / "images" / "dashboard"
WIDTHS = (1280, 390)
TALLEST = {1280: 1_000, 390: 1_400}
EMAIL = "op@example.com"


def draw(
    running: Browser, server: Server, world: World, folder: Path, only: Container[str] | None = None
) -> list[Path]:
    """Picture every page, or only some, at each width; the same every time but for what the clock says."""
    made = []
    email, password = make_admin(server)
    windows = {}
    with ExitStack() as stack:
        for width in WIDTHS:
            options = {"color_scheme": "light", "viewport": {"width": width, "height": 800}}
            windows[width] = stack.enter_context(opened(running, server, **options))
            if only is None:
                windows[width].goto("/dashboard/login")
                made.append(_picture(windows[width], folder / f"login-{width}.png", width))
            log_in(windows[width], email, password)
        for name, path in sorted(paths(world).items()):
            for width, page in windows.items():
                if only is None or name in only:
                    page.goto(f"/dashboard{path}")
                    made.append(_picture(page, folder / f"{name}-{width}.png", width))
    return made


def _picture(page: Page, file: Path, width: int) -> Path:
    """One page, as high as it is, up to a height."""
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(height, 600), TALLEST[width])})
    page.evaluate("document.activeElement && document.activeElement.blur()")
    page.screenshot(path=file)
    page.set_viewport_size({"width": width, "height": 800})
    return file


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(Databases(folder, stack).fresh("sqlite"))
        server = stack.enter_context(serve(url, folder, "--no-worker"))
        for file in draw(stack.enter_context(browser()), server, fill(server), FOLDER):
            print(file.relative_to(FOLDER.parents[2]))


if __name__ == "__main__":
    main()
