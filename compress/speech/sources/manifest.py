"""A Lhotse manifest of recordings or of cuts: each of its lines is a clip."""

from collections.abc import Callable, Iterator
from pathlib import Path

from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip, Scanned, Skipped, silent
from compress.speech.sources.cuts import CutSource, Entry, lines, parsed
from compress.speech.sources.remote import TIMEOUT_S, is_url, shown, suffixes
from compress.store import canonical_json
from exporters.files import user_path

SOUGHT = "a Lhotse manifest of recordings or cuts (.jsonl, .jsonl.gz; also by URL)"
SUFFIXES = (".jsonl", ".jsonl.gz")
TOLD_EVERY = 1000  # lines


def find(name: str, base: Path) -> bool:
    """Whether it is a URL that ends like a manifest, or such a file."""
    if not suffixes(name).endswith(SUFFIXES):
        return False
    return is_url(name) or Path(_place(name, base)).is_file()


def look(
    name: str, base: Path = Path(), min_clip_s: float = 0.0, timeout_s: float = TIMEOUT_S
) -> Iterator[Clip | Skipped]:
    """Its lines one by one. No audio is opened. Raises `AudioError` for a line that is no clip."""
    for found, _ in _each(name, base, min_clip_s, timeout_s):
        yield found


def scan(
    name: str,
    base: Path = Path(),
    min_clip_s: float = 0.0,
    progress: Callable[[int, int], None] = silent,
    timeout_s: float = TIMEOUT_S,
) -> Scanned:
    """Every line, in order; those too short by what the manifest says are skipped."""
    clips: list[Clip] = []
    skipped: list[Skipped] = []
    for count, (found, share) in enumerate(_each(name, base, min_clip_s, timeout_s), 1):
        if isinstance(found, Clip):
            clips.append(found)
        else:
            skipped.append(found)
        if count % TOLD_EVERY == 0:
            progress(round(share * TOLD_EVERY), TOLD_EVERY)
    progress(TOLD_EVERY, TOLD_EVERY)
    return Scanned(tuple(clips), tuple(skipped))


def _each(
    name: str, base: Path, min_clip_s: float, timeout_s: float
) -> Iterator[tuple[Clip | Skipped, float]]:
    place = _place(name, base)
    root = place if is_url(place) else str(Path(place).parent)
    for number, line, share in lines(place, timeout_s):
        entry = parsed(line, f"{shown(place)}, line {number}", root)
        source = CutSource(canonical_json(entry.kept).decode(), root, timeout_s)
        if short := too_short(entry, min_clip_s):
            title = f"{shown(place).rpartition('/')[2]}: {entry.id}"
            yield Skipped(title, source.name, short), share
            continue
        whole = entry.samples
        clip = Clip(entry.id, source, 0, whole, whole, entry.sha256, entry.recording)
        yield clip, share


def too_short(entry: Entry, min_clip_s: float) -> str:
    """Why it cannot be used; empty where it can."""
    seconds = entry.samples / SAMPLE_RATE
    if entry.samples and seconds >= min_clip_s:
        return ""
    return f"too short: {seconds:.2f} s, expected at least {min_clip_s:g} s"


def _place(name: str, base: Path) -> str:
    return name if is_url(name) else str(user_path(name, base).absolute())
