"""What students make of voices that they never heard, by kind of voice; and what it takes to be good at them.

    python -m recipes.voices run FOLDER --speech REAL SYNTHETIC NATURAL [--rest REST] [--guide DIR] [--rows ID …] [--parts shipped …] [--jobs 2]
    python -m recipes.voices table FOLDER          writes docs/voices.md and docs/voices.json

The folders are those that ``python -m recipes.build`` makes; the rows on few voices need ``python -m recipes.build.natural
NATURAL --voices N --minutes 16 --held-out-minutes 0`` with N of 1, 4, 16 and 40 as well. A row that is there already is not run
again; one that was not run reads ``not run``.
"""

import argparse
from pathlib import Path

from recipes.ablation.options import add_run, heard
from recipes.ablation.rows import read_rows
from recipes.ablation.running import run_rows
from recipes.voices.rows import ROWS


def run(arguments: argparse.Namespace) -> None:
    rows = [
        row
        for row in read_rows(ROWS)
        if (not arguments.rows or row.id in arguments.rows)
        and (not arguments.parts or row.part in arguments.parts)
    ]
    where = arguments.folder, heard(arguments), arguments.guide
    for done in run_rows(*where, rows, arguments.jobs):
        print(done, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = add_run(commands)
    running.add_argument("--guide", default="builtin:small")
    running.add_argument("--parts", nargs="*", default=[])
    commands.add_parser("table").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments)
    else:
        from recipes.voices.table import write

        write(arguments.folder)


if __name__ == "__main__":
    main()
