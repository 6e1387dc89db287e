"""Sounds that are not speech, to train on and to judge on: faces should rest when they hear them.

    python -m recipes.build.not_speech FOLDER --minutes 20

A clip's kind, length, level and sound follow from its number alone, so a run that was stopped goes on, and more minutes
only add clips. Clips are FLAC at 16 kHz in FOLDER/rest/KIND; one in six is held out. `moh` is music on hold from Debian's
package ``asterisk-moh-opsound-g722`` (docs/data.md), with other tunes on each side of the split; all else is made in code.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np

from compress.speech.audio import SAMPLE_RATE
from compress.speech.not_speech import Floats, Rng, Sound, at_peak, breath, fan, hum, noise, typing
from compress.speech.split import HELD_OUT_ONE_IN, Side, split
from compress.speech.tunes import tune
from compress.store import atomic_file
from recipes.build import corpus

SEED = 80
LENGTH_S = (3.0, 12.0)
PEAK_DB = (-60.0, -6.0)
MUSIC_ON_HOLD = Path("/usr/share/asterisk/moh")
PACKAGE = "asterisk-moh-opsound-g722"
HELD_OUT_TUNES = ("reno_project-system",)
# A tune is silent where it begins and ends; a clip is cut where it is at least this loud (peak).
HEARD_PEAK = 0.01
MADE: dict[str, Sound] = {
    "noise": noise,
    "hum": hum,
    "fan": fan,
    "typing": typing,
    "breath": breath,
    "tune": tune,
}
MOH = "moh"
# How often each kind comes.
SHARES = {"noise": 4, "hum": 2, "fan": 2, "typing": 3, "breath": 2, "tune": 3, MOH: 4}


@dataclass(frozen=True)
class Plan:
    """All that makes a clip: its name and side, its kind, and the seed of its sound."""

    name: str
    side: Side
    kind: str
    seconds: float
    peak_db: float
    seed: tuple[int, int]


def plans() -> Iterator[Plan]:
    """All clips there could be, in their order."""
    number = 0
    for i in count():
        rng = np.random.default_rng((SEED, i))
        side: Side = "heldout" if i % HELD_OUT_ONE_IN == 0 else "train"
        weights = np.array(list(SHARES.values()), float)
        kind = str(rng.choice(list(SHARES), p=weights / weights.sum()))
        # The split function knows a clip's name only, so its number is chosen to lie on its side, under the names that
        # it has in FOLDER and in FOLDER/rest.
        number = next(
            n
            for n in count(number + 1)
            if {split(f"rest/{kind}/{n:05d}"), split(f"{kind}/{n:05d}")} == {side}
        )
        seconds, peak_db = round(rng.uniform(*LENGTH_S), 2), round(rng.uniform(*PEAK_DB), 1)
        yield Plan(f"rest/{kind}/{number:05d}", side, kind, seconds, peak_db, (SEED, number))


def made(plan: Plan) -> Floats:
    """The audio of a planned clip, float32 `[samples]` at 16 kHz."""
    rng = np.random.default_rng(plan.seed)
    sound = MADE[plan.kind](rng, plan.seconds) if plan.kind in MADE else _on_hold(rng, plan)
    return at_peak(sound, plan.peak_db)


def tunes(side: Side) -> tuple[str, ...]:
    """Names of the music on hold on a side. Raises `FileNotFoundError` naming the Debian package that is missing."""
    names = sorted(path.stem for path in MUSIC_ON_HOLD.glob("*.g722"))
    if not set(HELD_OUT_TUNES) < set(names):
        raise FileNotFoundError(f"no music on hold on this machine; apt-get install {PACKAGE}")
    return tuple(name for name in names if (name in HELD_OUT_TUNES) == (side == "heldout"))


@cache
def _tune(name: str) -> np.ndarray:
    return corpus.read_g722(MUSIC_ON_HOLD / f"{name}.g722")


def _on_hold(rng: Rng, plan: Plan) -> Floats:
    music = _tune(str(rng.choice(tunes(plan.side))))
    length = round(plan.seconds * SAMPLE_RATE)
    while True:
        first = int(rng.integers(0, len(music) - length + 1))
        part = music[first : first + length]
        if np.abs(part).max() >= HEARD_PEAK:
            return np.asarray(part, np.float32)


def make(folder: Path, minutes: float) -> None:
    """Writes the clips of so many minutes that are not there yet, and prints the minutes of each side."""
    import soundfile

    seconds: dict[Side, float] = {"train": 0.0, "heldout": 0.0}
    tunes("train")  # what is missing is said before the work
    for plan in plans():
        path = folder / f"{plan.name}.flac"
        if not path.exists():
            with atomic_file(path) as unfinished:
                soundfile.write(unfinished, made(plan), SAMPLE_RATE, format="FLAC")
        seconds[plan.side] += plan.seconds
        if sum(seconds.values()) >= 60 * minutes:
            break
    for side, total in seconds.items():
        print(f"{side}: {total / 60:.1f} min", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    arguments = parser.parse_args()
    make(arguments.folder, arguments.minutes)


if __name__ == "__main__":
    main()
