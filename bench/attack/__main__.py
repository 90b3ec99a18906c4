"""Runs the attacks against servers on the loopback and prints one table.

    python bench/attack                    every attack
    python bench/attack heads bodies       the attacks of these files
    python bench/attack --write            also writes bench/results/attack.md

Each file in this folder, except attack.py, contains a tuple ATTACKS. The exit code is 1 if a bound does not hold.
"""

import argparse
import datetime
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from attack import Attack, Figure  # noqa: E402  (the path comes first)

FILES = sorted(file.stem for file in HERE.glob("*.py") if file.stem not in {"__main__", "attack"})
HEAD = "| attack | figure | seen | bound | held |\n| :-- | :-- | --: | --: | :-- |"


def main() -> int:
    """Runs the attacks of the named files, or all."""
    parser = argparse.ArgumentParser(prog="python bench/attack", description="Runs attacks on the loopback.")
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"any of: {', '.join(FILES)}; none = all")
    parser.add_argument("--write", action="store_true", help="also write bench/results/attack.md")
    given = parser.parse_args()
    if unknown := set(given.files) - set(FILES):
        parser.error(f"no attacks in {', '.join(sorted(unknown))}; there are: {', '.join(FILES)}")
    rows, held = [HEAD], True
    print(HEAD, flush=True)
    for attack, figure in figures(given.files or FILES):
        rows.append(row(attack, figure))
        held = held and figure.held
        print(rows[-1], flush=True)
    if given.write:
        write(rows)
    return 0 if held else 1


def figures(files: list[str]) -> Iterator[tuple[Attack, Figure]]:
    """The figures of each attack. An attack that fails counts as a figure whose bound does not hold."""
    for file in files:
        for attack in importlib.import_module(file).ATTACKS:
            print(f"running: {attack.name} ...", file=sys.stderr, flush=True)
            try:
                seen = attack.run()
            except Exception as error:
                seen = [Figure("the attack itself", f"{type(error).__name__}: {error}", "runs", False)]
            yield from ((attack, figure) for figure in seen)


def row(attack: Attack, figure: Figure) -> str:
    """One line of the table."""
    return f"| {attack.name} | {figure.what} | {figure.seen} | {figure.bound} | {'yes' if figure.held else '**no**'} |"


def write(rows: list[str]) -> None:
    """Writes the table with the machine it was measured on."""
    import machine

    file = HERE.parent / "results" / "attack.md"
    facts = "\n".join(f"* {name}: {value}" for name, value in machine.facts().items())
    head = f"# Attacks, {datetime.date.today()}\n\nMade by `python bench/attack --write`.\n\n{facts}\n\n"
    file.write_text(head + "\n".join(rows) + "\n", "utf-8")
    print(f"written: {file.name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
