"""Makes all that ships again, from packages of registries: speech, teacher, students, cards and tables.

    python -m recipes.build FOLDER [--from STEP] [--only STEP …] [--list]

Two processes at a time, one thread each. A step that was stopped goes on where it was, and one that is done is done at once,
since each command finds what it made before. FOLDER holds the speech, the runs and a log of each command. Needs the extra
``lipstill[build]``, npm, and the Debian packages that docs/data.md names.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import environ
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
JOBS = 2
SPEECH = ("real", "synthetic", "natural")


@dataclass(frozen=True)
class Step:
    """Commands that may run side by side, as arguments of ``python -m``; ``{}`` stands for the folder."""

    name: str
    commands: tuple[str, ...]


_HEARD = f"--speech {' '.join(f'{{}}/{name}' for name in SPEECH)} --rest {{}}/rest"
_DISTILL = (
    f"compress distill recipes/reference.yaml --set speech.train=[{','.join(f'{{}}/{name}' for name in SPEECH)}] "
    "--set speech.rest=[{}/rest] --out {}"
)
STEPS = (
    Step(
        "speech",
        (
            "recipes.build.natural {}/natural --part 1/2",
            "recipes.build.natural {}/natural --part 2/2",
            "recipes.build.speech fetch {}/real",
            "recipes.build.speech synthesize {}/synthetic",
            "recipes.build.not_speech {}/rest",
        ),
    ),
    Step("packs", ("recipes.build.speech pack", "recipes.build.natural_pack {}/natural")),
    Step("teacher", ("recipes.build.teacher --natural {}/natural --rest {}/rest",)),
    Step("evaluation", ("recipes.build.evaluation --natural {}/natural",)),
    Step("students", (f"{_DISTILL}/students",)),
    Step("students pack", ("recipes.build.students pack {}/students",)),
    Step("judging", (f"recipes.voices run {{}}/voices --parts shipped {_HEARD}",)),
    Step(
        "smaller students",
        (
            (
                "recipes.compression run {}/compression --labels {}/voices --methods ptq "
                f"--rows tiny tiny-60 tiny-realtime small-70 {_HEARD}"
            ),
        ),
    ),
    Step("smaller students pack", ("recipes.compression pack {}/compression",)),
    Step("cards", ("recipes.voices table {}/voices", "recipes.build.students cards")),
)


def run(step: Step, folder: Path) -> None:
    """All commands of a step. Raises `SystemExit` with the end of its log for one that fails."""
    with ThreadPoolExecutor(JOBS) as pool:
        logs = [folder / "logs" / f"{step.name}-{n}.log" for n in range(1, len(step.commands) + 1)]
        for failed in pool.map(lambda *one: _run(*one, folder), step.commands, logs):
            if failed:
                raise SystemExit(failed)


def _run(command: str, log: Path, folder: Path) -> str | None:
    arguments = command.replace("{}", str(folder)).split()
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    print(f"{command.replace('{}', str(folder))}\n  log: {log}", flush=True)
    with log.open("a", encoding="utf-8") as output:
        ended = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=REPOSITORY,
            env=environ | {"OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if ended.returncode:
        tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-8:])
        return f"{command} ended with {ended.returncode}; its log ends with\n{tail}"
    print(f"  {arguments[0]}: {(time.monotonic() - began) / 60:.1f} min", flush=True)
    return None


def chosen(first: str | None, only: Sequence[str]) -> list[Step]:
    """The steps to run, in order. Raises `SystemExit` for a name that is none."""
    names = [step.name for step in STEPS]
    if unknown := {*only, *([first] if first else [])} - set(names):
        raise SystemExit(f"no step {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    later = STEPS[names.index(first) if first else 0 :]
    return [step for step in later if not only or step.name in only]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--from", dest="first")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--list", action="store_true", help="print the commands and run none")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    for step in chosen(arguments.first, arguments.only):
        print(f"{step.name}:", flush=True)
        if arguments.list:
            print("\n".join(f"  {c.replace('{}', str(folder))}" for c in step.commands))
        else:
            run(step, folder)


if __name__ == "__main__":
    main()
