"""The command ``lipstill benchmark``."""

from pathlib import Path
from typing import Annotated

import typer

from compress.commands.options import AsJson
from compress.errors import UsageError

benchmark_app = typer.Typer()
MOST_RUNS, MOST_THREADS = 1_000_000, 256


@benchmark_app.command()
def benchmark(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Model files, folders of models, or runs.",
            metavar="RUN_OR_FILE",
            show_default=False,
        ),
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            help="A file that takes turns with each; by default a run's float files, or itself.",
            metavar="FILE",
        ),
    ] = None,
    runs: Annotated[
        int,
        typer.Option(
            "--runs", help="Timed calls for each number of threads.", min=1, max=MOST_RUNS
        ),
    ] = 200,
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            help="Such as 1,2,4; by default 1 and all.",
            metavar="N,N...",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="Only files of this target; may be repeated.", metavar="NAME"
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="Only on this: android (by adb) or coreml (this Mac and connected iPhones).",
            metavar="NAME",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure size, latency and memory of model files, each in its own runtime."""
    counts = _counts(threads)
    from compress.prove import benchmarking
    from exporters.measuring.devices import DEVICES

    if device is not None and (fault := DEVICES.fault(device)):
        raise UsageError(f"--device: {fault}")
    chosen = benchmarking.choose(files, target or (), against)
    found = benchmarking.benchmark(chosen, runs=runs, threads=counts, device=device, hidden=as_json)
    typer.echo(found.to_json() if as_json else "\n".join(found.lines))


def _counts(threads: str | None) -> tuple[int, ...] | None:
    if threads is None:
        return None
    parts = [part.strip() for part in threads.split(",")]
    if not all(
        part.isascii() and part.isdigit() and len(part) < 9 and 1 <= int(part) <= MOST_THREADS
        for part in parts
    ):
        raise UsageError(
            f"--threads is {threads!r}; expected numbers from 1 to {MOST_THREADS} with commas between "
            f"them, such as 1,2,4."
        )
    return tuple(dict.fromkeys(int(part) for part in parts))
