"""Pictures of every page for the documentation, wide and narrow: `make pictures` writes docs/images/dashboard/.

If pngquant is installed, the files have a quarter of the size. The font is Inter, if it is installed.

draw(browser, server, world, folder)    writes the pictures; their files
smaller(file, colours)                  reduces a picture to so many colours
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Container
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
TALLEST = {1280: 900, 390: 844}
EMAIL = "op@example.com"


def ask_why(page: Page) -> None:
    """Submit the form of "Why not found?"."""
    page.get_by_label("Who looks").fill("ann.archer")
    page.get_by_label("Who is not found").fill("07700 900 013")
    page.get_by_role("button", name="Check").click()
    page.wait_for_load_state()


def reveal(page: Page) -> None:
    """Reveal one contact."""
    page.get_by_role("button", name="Reveal contact 2").click()
    page.wait_for_load_state()


def wait_for_chart(page: Page) -> None:
    """Wait until a script has drawn the large chart."""
    page.locator(".plot canvas").wait_for()


# What is done on a page before its picture is taken.
FIRST: dict[str, Callable[[Page], None]] = {"why": ask_why, "book": reveal, "overview": wait_for_chart}


def draw(
    running: Browser, server: Server, world: World, folder: Path, only: Container[str] | None = None
) -> list[Path]:
    """Take pictures of all pages, or of some, at each width. They differ between runs only by the time."""
    made = []
    email, password = make_admin(server, EMAIL if only is None else "")
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
                    FIRST.get(name, lambda _: None)(page)
                    made.append(_picture(page, folder / f"{name}-{width}.png", width))
    return made


def _picture(page: Page, file: Path, width: int) -> Path:
    """Take a picture of one page, up to a maximum height."""
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(height, 600), TALLEST[width])})
    page.evaluate("document.activeElement && document.activeElement.blur()")
    page.screenshot(path=file)
    page.set_viewport_size({"width": width, "height": 800})
    return smaller(file, 64)


def smaller(file: Path, colours: int) -> Path:
    """Reduce a picture to so many colours, if pngquant is installed; the file."""
    if program := shutil.which("pngquant"):
        subprocess.run([program, "--force", "--skip-if-larger", "--ext", ".png", str(colours), file], check=False)
    return file


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(Databases(folder, stack).fresh("sqlite"))
        server = stack.enter_context(serve(url, folder, "--no-worker"))
        for file in draw(stack.enter_context(browser()), server, fill(server), FOLDER):
            print(file.relative_to(FOLDER.parents[2]))


if __name__ == "__main__":
    main()
