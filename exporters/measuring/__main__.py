"""The processes in which model files are measured: ``python -m exporters.measuring MODE FILE...``.

``pace`` writes as JSON how fast a file is in turns with a second one, ``memory`` what the process
grows by; in ``arena`` TensorFlow Lite Micro says in its own words what it needs.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporters import records
from exporters.errors import ExporterError
from exporters.measuring.arena import record_here
from exporters.measuring.memory import memory_here
from exporters.measuring.pace import pace_here


def _main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        if given.mode == "arena":
            record_here(given.file)
            return 0
        result: Any
        if given.mode == "pace":
            result = pace_here(
                given.file,
                given.reference,
                runs=given.runs,
                warmup=given.warmup,
                threads=given.threads,
            )
        else:
            result = memory_here(given.file)
    except ExporterError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(records.to_json(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m exporters.measuring", description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True)
    pace = modes.add_parser("pace")
    pace.add_argument("file", type=Path)
    pace.add_argument("reference", type=Path)
    pace.add_argument("--runs", type=int, required=True)
    pace.add_argument("--warmup", type=int, required=True)
    pace.add_argument("--threads", type=int, required=True)
    for mode in ("memory", "arena"):
        modes.add_parser(mode).add_argument("file", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(_main())
