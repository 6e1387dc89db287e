"""Which speech a run has, and which side of the split each clip is on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import AudioError, BadAudio
from compress.labels.making import Spoken
from compress.labels.rest_pose import RestClip
from compress.progress import bar
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import FORMATS, Clip, Format, PassedOver, Scanned, Skipped, parts
from compress.speech.sources.remote import is_url, shown
from compress.speech.split import Side, prompt_id, split
from exporters.files import user_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compress.recipe.recipe import SpeechSettings


@dataclass(frozen=True)
class Speech:
    """Usable clips with their sides, in the order in which they are best read; what is left out.

    Those that can each be had alone are sorted by id. `folders` are those of sources that have one,
    `passed_over` says what in them is not looked at. `rest` is sound that is not speech.
    """

    spoken: tuple[Spoken, ...]
    skipped: tuple[Skipped, ...]
    folders: tuple[Path, ...]
    passed_over: tuple[PassedOver, ...] = ()
    rest: tuple[RestClip, ...] = ()

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Recordings left out, named from their source on, and why."""
        return [(file.name, file.reason) for file in self.skipped]


def gather(settings: "SpeechSettings", base: Path) -> Speech:
    """Scan the sources that a recipe names, and divide long clips into parts.

    Without held-out sources the one split function divides the recordings; it always divides those
    that are not speech.

    Raises `AudioError` when too much is unusable, when a clip's id comes twice, when a recording is
    on both sides or both speech and none, or when one side is empty.
    """
    sides: list[tuple[Sequence[str], Side | None]] = [(settings.train, None)]
    if settings.heldout:
        sides = [(settings.train, "train"), (settings.heldout, "heldout")]
    clips: list[Spoken] = []
    skipped: list[Skipped] = []
    folders: list[Path] = []
    passed_over: list[PassedOver] = []
    for names, side in sides:
        for name in names:
            found = _scan(name, base, settings)
            skipped += found.skipped
            folders += [found.folder] if found.folder is not None else []
            passed_over += [found.passed_over] if found.passed_over is not None else []
            clips += [
                Spoken(clip, side or split(prompt_id(clip.recording))) for clip in found.clips
            ]
    _require_usable(clips, skipped, settings)
    _check(clips)
    # What can only be read from front to back stays as it was found.
    clips.sort(key=lambda s: (1, "") if s.clip.source.group else (0, s.clip.id))
    spoken = (Spoken(part, s.side) for s in clips for part in parts(s.clip, settings.max_clip_s))
    rest, bad, more = _rest(settings, base, clips)
    return Speech(
        tuple(spoken),
        (*skipped, *bad),
        tuple(folders),
        (*passed_over, *more),
        rest,
    )


def _rest(
    settings: "SpeechSettings", base: Path, speech: Sequence[Spoken]
) -> tuple[tuple[RestClip, ...], tuple[Skipped, ...], tuple[PassedOver, ...]]:
    """Sound that is not speech by id, what of it cannot be used, and what is not looked at."""
    if not settings.rest:
        return (), (), ()
    scanned = [_scan(name, base, settings) for name in settings.rest]
    clips = [Spoken(c, split(prompt_id(c.recording))) for found in scanned for c in found.clips]
    skipped = [file for found in scanned for file in found.skipped]
    _require_usable(clips, skipped, settings)
    _check_ids(clips)
    spoken = {s.clip.sha256: s.clip for s in speech}
    for clip in (member.clip for member in clips):
        if twin := spoken.get(clip.sha256):
            raise AudioError(
                f"{clip.path} is among the sounds that are not speech (speech.rest), but {twin.path} "
                f"of the speech is the same recording. A recording is speech, or it is not: remove "
                f"it from one of them."
            )
    if all(member.side == "heldout" for member in clips):
        raise AudioError(
            f"All {len(clips)} clips of speech.rest fall on the held-out side of the split, which "
            f"takes one recording in six by the hash of its id. Add sounds."
        )
    clips.sort(key=lambda s: (1, "") if s.clip.source.group else (0, s.clip.id))
    rest = (RestClip(p, s.side) for s in clips for p in parts(s.clip, settings.max_clip_s))
    passed_over = (found.passed_over for found in scanned if found.passed_over is not None)
    return tuple(rest), tuple(skipped), tuple(passed_over)


def excerpt(settings: "SpeechSettings", base: Path, seconds: float) -> "NDArray[np.float32]":
    """The first usable clips of the training speech, one after the other, float32 [samples].

    As many as make so many seconds at 16 kHz, and no more, or all that there are. Reads no further.
    Raises AudioError when a source is missing, or when no clip can be used.
    """
    import numpy as np

    found: list[NDArray[np.float32]] = []
    missing, reasons = round(seconds * SAMPLE_RATE), []
    for name in settings.train:
        for entry in format_of(name, base).look(name, base, 0.0, settings.timeout_s):
            if isinstance(entry, Skipped):
                reasons.append(f"{entry.path}: {entry.reason}")
                continue
            try:
                found.append(
                    entry.source.read(entry.start, entry.start + min(entry.samples, missing))
                )
            except BadAudio as error:
                reasons.append(str(error))
                continue
            missing -= len(found[-1])
            if not missing:
                return np.concatenate(found)
    if not found:
        raise AudioError(f"No audio can be used: {'; '.join(reasons[:3])}.")
    return np.concatenate(found)


def format_of(name: str, base: Path) -> Format:
    """The format of a source. Raises `AudioError` for what is of none, and ContractError."""
    tried: list[Format] = []
    for module in FORMATS.names():
        tried.append(FORMATS.load(module))
        if tried[-1].find(name, base):
            return tried[-1]
    what = "; ".join(format_.SOUGHT for format_ in tried)
    if is_url(name):
        raise AudioError(f"{shown(name)} is no source of speech. Looked for {what}.")
    path = user_path(name, base).absolute()
    found = "of no format that is read" if path.exists() else "not there"
    raise AudioError(f"The speech {path} is {found}. Looked for {what}. Check the path.")


def _scan(name: str, base: Path, settings: "SpeechSettings") -> Scanned:
    format_ = format_of(name, base)
    with bar("read", 1) as progress:
        return format_.scan(
            name,
            base,
            settings.min_clip_s,
            lambda done, total: progress(done / total),
            settings.timeout_s,
        )


def _require_usable(
    clips: Sequence[Spoken], skipped: Sequence[Skipped], settings: "SpeechSettings"
) -> None:
    count = len(clips) + len(skipped)
    if not clips or len(skipped) > settings.max_bad_share * count:
        raise AudioError(_too_many(skipped, count, settings.max_bad_share))


def _too_many(skipped: Sequence[Skipped], count: int, max_bad_share: float) -> str:
    first = "; ".join(f"{file.path}: {file.reason}" for file in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return (
        f"{len(skipped)} of {count} audio files cannot be used, expected a share of at most "
        f"{max_bad_share:g}: {first}{more}. Repair or remove them, or raise speech.max_bad_share."
    )


def _check_ids(spoken: Sequence[Spoken]) -> None:
    ids: dict[str, Clip] = {}
    for clip in (member.clip for member in spoken):
        twin = ids.setdefault(clip.id, clip)
        if twin is not clip:
            raise AudioError(
                f"{twin.path} and {clip.path} would both be the clip {clip.id}. Keep one of them, "
                f"rename one, or name the folder above both as the source: its sub-folders then "
                f"are part of the ids."
            )


def _check(spoken: Sequence[Spoken]) -> None:
    _check_ids(spoken)
    recordings: dict[str, Spoken] = {}
    for member in spoken:
        clip = member.clip
        first = recordings.setdefault(clip.recording, member)
        if first.side != member.side:
            raise AudioError(
                f"{first.clip.id} of {first.clip.path} and {clip.id} of {clip.path} are of one "
                f"recording, {clip.recording}, but on two sides of the split: what is judged must "
                f"not be trained on. Name them on one side."
            )
    if len({member.side for member in spoken}) < 2:
        only = "training" if spoken[0].side == "train" else "held-out"
        raise AudioError(
            f"All {len(spoken)} clips fall on the {only} side of the split, which takes one prompt "
            f"in six by the hash of its id. Add speech, or name sources of held-out speech under "
            f"speech.heldout."
        )
