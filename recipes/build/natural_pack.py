"""Puts a part of the natural voices into the package.

    python -m recipes.build.natural_pack FOLDER      writes compress/assets/voices/

FOLDER is one that ``recipes.build.natural`` filled. Taken are the clips with the lowest numbers, until the minutes are full.
"""

import argparse
import json
from pathlib import Path

from compress.speech.audio import SAMPLE_RATE
from compress.speech.split import Side, prompt_id, split
from recipes.build.speech import OPUS_LEVEL, write_alignments

ASSET = Path(__file__).parents[2] / "compress" / "assets" / "voices"
# As much to train on as of the real speakers; few to judge on, since a run judges each of its files on all of them.
MINUTES: dict[Side, float] = {"train": 20.0, "heldout": 2.4}


def number(name: str) -> int:
    """That of a clip's plan."""
    return int(name.rsplit("/", 1)[1].split("-")[0])


def pack(folder: Path, asset: Path) -> None:
    """Writes Opus files and alignments.json of the held-out ones, and prints the minutes of each side."""
    import soundfile

    entries = json.loads((folder / "alignments.json").read_text("utf-8"))
    packed = {}
    for side, minutes in MINUTES.items():
        names = sorted((n for n in entries if split(prompt_id(n)) == side), key=number)
        seconds, clips = 0.0, 0
        for name in names:
            if seconds >= 60 * minutes:
                break
            audio, _ = soundfile.read(folder / f"{name}.flac", dtype="float32")
            path = asset / f"{name}.opus"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(
                path, audio, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL
            )
            seconds, clips = seconds + len(audio) / SAMPLE_RATE, clips + 1
            if side == "heldout":  # to judge by; training hears the teacher's labels alone
                packed[name] = entries[name]
        print(f"{side}: {clips} clips, {seconds / 60:.2f} min")
    write_alignments(asset, dict(sorted(packed.items())))
    size = sum(path.stat().st_size for path in asset.rglob("*") if path.is_file())
    print(f"{size / 1e6:.2f} MB in all")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    pack(parser.parse_args().folder, ASSET)


if __name__ == "__main__":
    main()
