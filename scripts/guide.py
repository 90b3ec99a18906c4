"""Build the guide: the documents of this repository as a site, which the server shows at /guide.

    python scripts/guide.py               build it; it takes a few seconds
    python scripts/guide.py --if-stale    build it if a document is newer and the program for it is installed
    python scripts/guide.py --serve       show it while you write, at http://127.0.0.1:8000

The pages keep their places relative to each other, so the links between them work in the repository and in the guide.
Zensical refuses a link to a page that does not exist. Files that a page links to, such as deploy/compose.yaml, are
copied, too.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "guide"
SITE = ROOT / "src" / "ringbook" / "server" / "site"
FOLDERS = ("docs", "client", "bench", "demo")
ALONE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PROGRAM = Path(sys.executable).with_name("zensical")
CONFIG = ROOT / "mkdocs.yml"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"")


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the guide from the documents of this repository.")
    parser.add_argument("--serve", action="store_true", help="show the guide while you write")
    parser.add_argument("--if-stale", action="store_true", help="build it if need be and if that is possible")
    arguments = parser.parse_args()
    if arguments.serve:
        gather()
        return subprocess.run([PROGRAM, "serve", "--config-file", CONFIG], cwd=ROOT).returncode
    if not arguments.if_stale:
        return build()
    if PROGRAM.exists() and is_stale():
        print("Building the guide ...", file=sys.stderr)
        build()  # a document with a wrong link does not keep the server from starting
    return 0


def is_stale() -> bool:
    """Is the guide missing, or older than a document?"""
    built = SITE / "index.html"
    return not built.exists() or built.stat().st_mtime < max(one.stat().st_mtime for one in sources())


def sources() -> Iterator[Path]:
    """The files that the guide is made from, without those that pages link to."""
    yield from (CONFIG, ROOT / "docs" / "guide.css")
    yield from (ROOT / page for page in pages())


def build() -> int:
    """Build the guide; the exit code."""
    gather()
    shutil.rmtree(SITE, ignore_errors=True)
    command = [PROGRAM, "build", "--config-file", CONFIG, "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, "The guide was not built: mend the links above.", sep="\n", file=sys.stderr)
        return 1
    (SITE / "sitemap.xml").unlink(missing_ok=True)  # it needs a fixed address
    return 0


def gather() -> None:
    """Copy the pages, and the files that they link to, into a folder of their own."""
    shutil.rmtree(PAGES, ignore_errors=True)
    copy(Path("docs/images/mark.svg"))  # the logo
    copy(Path("docs/guide.css"))
    for page in pages():
        copy(page)
        for linked in linked_files(page):
            copy(linked)


def pages() -> Iterator[Path]:
    """Every page, below the root."""
    yield from (Path(name) for name in ALONE)
    for folder in FOLDERS:
        found = (ROOT / folder).rglob("*.md")
        yield from sorted(page.relative_to(ROOT) for page in found if "node_modules" not in page.parts)


def linked_files(page: Path) -> Iterator[Path]:
    """The files in this repository that a page links to, without the other pages."""
    for target in map("".join, LINK.findall((ROOT / page).read_text("utf-8"))):
        if "://" not in target and not target.startswith("mailto:"):
            linked = (ROOT / page.parent / target).resolve()
            if linked.is_file() and linked.suffix != ".md":
                yield linked.relative_to(ROOT)


def copy(file: Path) -> None:
    """Copy a file to the same place among the pages."""
    target = PAGES / file
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / file, target)


if __name__ == "__main__":
    sys.exit(main())
