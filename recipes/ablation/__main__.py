"""What each ingredient of the method is worth: trains and judges the rows, and writes the table.

    python -m recipes.ablation run FOLDER --speech REAL SYNTHETIC [--rest REST] [--guide DIR] [--rows ID …] [--jobs 2]
    python -m recipes.ablation table FOLDER          writes docs/results.md and docs/results.json

REAL and SYNTHETIC are the folders that ``python -m recipes.build.speech`` fetches and makes; the guide is a distilled small
student (default ``builtin:small``). A row that is there already is not run again; a row that was not run reads ``not run``.
"""

import argparse
from pathlib import Path

from recipes.ablation.options import add_run, heard
from recipes.ablation.rows import read_rows
from recipes.ablation.running import run_rows


def run(arguments: argparse.Namespace) -> None:
    rows = [row for row in read_rows() if not arguments.rows or row.id in arguments.rows]
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
    commands.add_parser("table").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments)
    else:
        from recipes.ablation.table import write
        from recipes.results import compose

        write(arguments.folder)
        compose()


if __name__ == "__main__":
    main()
