"""Held-out clips for the report: what is said, and the face that the teacher and each tier give it."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.judge.animation import driven_curves
from compress.judge.held_out import Floats, HeldOut
from compress.judge.metrics import Moments
from compress.speech import visemes
from compress.speech.audio import SAMPLE_RATE
from compress.store import atomic_write, content_key, kept, tool_versions
from exporters import records
from exporters.files import hash_of
from exporters.report.records.clips import Clip, Clips, Curves, Moment, Span, TierCurves, read_clips
from exporters.targets.contract import load_target, target_of

# Of a clip, in seconds: long enough for a sentence, short enough to be watched twice.
FAVOURED_S = 3.5
# What an eye takes in as one moment.
MOMENT_S = 0.1
DECIMALS = 4
CLIPS = "clips.json"


FORMAT = 2


@dataclass(frozen=True)
class ClipsJob:
    """Everything that the shown clips depend on: one model file of each tier, by the tier's name.

    Keys stand for the labels and for what is known of phones and of the rig.
    """

    folder: Path
    count: int
    files: Mapping[str, Path]
    labels_key: str
    criteria_key: str

    @property
    def key(self) -> str:
        runtimes = {r for f in self.files.values() for r in load_target(target_of(f)).RUNTIMES}
        return content_key(
            format=FORMAT,
            count=self.count,
            files={tier: hash_of(file) for tier, file in self.files.items()},
            labels=self.labels_key,
            criteria=self.criteria_key,
            versions=tool_versions("numpy", "torch", "soundfile", *sorted(runtimes)),
        )


@dataclass(frozen=True)
class ShownClips:
    """The clips, and the audio of each as FLAC, by its name beside the report."""

    clips: Clips
    audio: dict[str, bytes]


def run(job: ClipsJob, heldout: Callable[[], HeldOut]) -> ShownClips:
    """The clips that the report shows, animated now or found."""

    def make() -> ShownClips:
        return shown_clips(heldout(), job.count, job.files)

    def write(folder: Path, made: ShownClips) -> None:
        atomic_write(folder / CLIPS, records.to_json(made.clips))
        for name, content in made.audio.items():
            atomic_write(folder / name, content)

    def read(folder: Path) -> ShownClips:
        clips = read_clips(folder / CLIPS)
        return ShownClips(clips, {c.audio: (folder / c.audio).read_bytes() for c in clips.clips})

    return kept(job.folder, job.key, make, write, read)


def shown_clips(heldout: HeldOut, count: int, files: Mapping[str, Path]) -> ShownClips:
    """A few held-out clips as every tier animates them; `files` has one model file for each tier.

    Those with a known text and of middling length come first. A tier whose curves are not finite on
    a clip is left out of it: its parity failed, and says so.
    """
    runtimes = {
        tier: load_target(target_of(file)).open_runtime(file) for tier, file in files.items()
    }
    clips, audio = [], {}
    for number, i in enumerate(_order(heldout)[:count], 1):
        alignment, name = heldout.alignments[i], f"clip-{number}.flac"
        teacher, times = heldout.teacher[i], heldout.times_s(i)
        predicted = {
            tier: driven_curves(runtime, heldout.samples[i], times)
            for tier, runtime in runtimes.items()
        }
        clips.append(
            Clip(
                clip=heldout.clips[i].id,
                text=alignment.text if alignment else heldout.clips[i].id,
                audio=name,
                image=f"curves-{number}.png",
                rate_hz=heldout.rate_hz,
                offset_s=heldout.offset_s,
                teacher=_curves(teacher, heldout),
                tiers=tuple(_by_tier(predicted, teacher, heldout)),
                shown=tuple(_shown(heldout)),
                sealed=tuple(
                    Span(label="p b m", start_s=start, end_s=end)
                    for start, end in visemes.bilabials(alignment.segments if alignment else [])
                ),
                phones=tuple(
                    Span(label=phone, start_s=start, end_s=end)
                    for phone, start, end in (alignment.phones if alignment else ())
                ),
            )
        )
        audio[name] = _flac(heldout.samples[i])
    return ShownClips(Clips(clips=tuple(clips)), audio)


def farthest(
    predicted: Floats,
    teacher: Floats,
    driven: Sequence[str],
    rate_hz: float,
    offset_s: float = 0.0,
) -> Moment:
    """Where `[frames, driven]` curves are farthest from the teacher's: the worst tenth of a second.

    Frame i stands for offset_s + i / rate_hz.
    """
    squares = (predicted - teacher).astype(np.float64) ** 2
    width = min(len(squares), max(1, round(MOMENT_S * rate_hz)))
    sums = np.cumsum(np.concatenate([np.zeros((1, squares.shape[1])), squares]), axis=0)
    means = (sums[width:] - sums[:-width]) / width
    first = int(means.mean(axis=1).argmax())
    return Moment(
        time_s=round(offset_s + (first + (width - 1) / 2) / rate_hz, DECIMALS),
        error=round(float(np.sqrt(means[first].mean())), DECIMALS),
        control=driven[int(means[first].argmax())],
    )


def _by_tier(
    predicted: Mapping[str, Floats], teacher: Floats, heldout: HeldOut
) -> Iterator[TierCurves]:
    for tier, curves in predicted.items():
        if np.isfinite(curves).all():
            found, wanted = heldout.evened(curves), heldout.evened(teacher)
            worst = farthest(found, wanted, heldout.driven, heldout.rate_hz, heldout.offset_s)
            yield TierCurves(tier=tier, values=_curves(curves, heldout), worst=worst)


def _order(heldout: HeldOut) -> list[int]:
    return sorted(
        range(len(heldout.clips)),
        key=lambda i: (
            heldout.alignments[i] is None,
            abs(heldout.clips[i].seconds - FAVOURED_S),
            heldout.clips[i].id,
        ),
    )


def _shown(heldout: HeldOut) -> list[str]:
    """Those that the rig says, or the three that move most."""
    if shown := [name for name in heldout.rig.shown if name in heldout.driven]:
        return shown
    moments = Moments()
    for curves in heldout.teacher:
        moments.join(Moments.of(heldout.evened(curves), heldout.evened(curves)))
    return [heldout.driven[c] for c in sorted(np.argsort(-moments.reference_deviation)[:3])]


def _curves(values: Floats, heldout: HeldOut) -> Curves:
    """Each control with as many digits as one of a rig of scale 1 has, and never fewer."""
    evening = np.ones(values.shape[1]) if heldout.evening is None else heldout.evening
    more = np.maximum(0, np.round(np.log10(evening / heldout.scale))).astype(int)
    return {
        name: tuple(
            round(float(value), DECIMALS + int(more[column])) for value in values[:, column]
        )
        for column, name in enumerate(heldout.driven)
    }


def _flac(samples: Floats) -> bytes:
    """16-bit FLAC: every browser plays it, and no sample is moved, as codecs with a delay would."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
