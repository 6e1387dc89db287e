"""What each step to a smaller student costs: prunes, quantizes and judges the reference students.

    python -m recipes.compression run FOLDER --speech REAL SYNTHETIC NATURAL [--rest REST] [--labels DIR] [--rows ID …] [--methods ptq qat] [--jobs 2]
    python -m recipes.compression cuts FOLDER --speech REAL SYNTHETIC NATURAL [--rest REST] [--labels DIR]
    python -m recipes.compression pack FOLDER       puts the smaller reference students into compress/assets
    python -m recipes.compression table FOLDER      writes the part of docs/results.md, and docs/compression.json

REAL, SYNTHETIC, NATURAL and REST are the folders that ``python -m recipes.build`` makes. What is there already is not made
again. ``--labels`` is a folder that ``recipes.ablation run`` labelled already.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from recipes.ablation.options import add_heard, add_run, heard
from recipes.compression.rows import read_rows


def run(arguments: argparse.Namespace) -> None:
    from recipes.ablation.running import open_bench
    from recipes.compression.running import run_in

    sources = heard(arguments)
    bench = (arguments.labels or arguments.folder).absolute()
    opened = open_bench(bench, *sources, "builtin:small")  # labels once, before the workers start
    if arguments.command == "cuts":
        from recipes.compression import cuts

        cuts.run(opened, arguments.folder.absolute())
        return
    rows = [row for row in read_rows() if not arguments.rows or row.id in arguments.rows]
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as workers:
        folder, methods = arguments.folder.absolute(), tuple(arguments.methods)
        for job in [workers.submit(run_in, bench, sources, folder, row, methods) for row in rows]:
            print(job.result(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running, cutting = add_run(commands), commands.add_parser("cuts")
    add_heard(cutting)
    for command in (running, cutting):
        command.add_argument("--labels", type=Path)
    running.add_argument("--methods", nargs="*", default=["ptq", "qat"], help="of int8")
    for name in ("pack", "table"):
        commands.add_parser(name).add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command in ("run", "cuts"):
        run(arguments)
    elif arguments.command == "pack":
        from recipes.compression.packing import pack

        pack(arguments.folder)
    else:
        from recipes.compression.table import write
        from recipes.results import compose

        write(arguments.folder)
        compose()


if __name__ == "__main__":
    main()
