"""Progress bars on stderr.

told()    a function that shows how far each step is, during a block
"""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

Tell = Callable[[str, int, int], None]


@contextlib.contextmanager
def told() -> Iterator[Tell]:
    """Show a progress bar on stderr, and a line for each finished step."""
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*shown, console=Console(stderr=True)) as progress:
        lines: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in lines:
                lines[what] = progress.add_task(what, total=of)
            progress.update(lines[what], completed=done)

        yield tell
