"""Held-out clips for the report: what is said, and the face that the teacher and each tier give it."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress import visemes
from compress.animation import driven_curves
from compress.audio import SAMPLE_RATE
from compress.held_out import Floats, HeldOut
from compress.metrics import Moments
from exporters.report.clips import Clip, Clips, Curves, Moment, Span, TierCurves
from exporters.targets import load_target, target_of

# Of a clip, in seconds: long enough for a sentence, short enough to be watched twice.
FAVOURED_S = 3.5
# What an eye takes in as one moment.
MOMENT_S = 0.1
DECIMALS = 4


@dataclass(frozen=True)
class ShownClips:
    """The clips, and the audio of each as FLAC, by its name beside the report."""

    clips: Clips
    audio: dict[str, bytes]


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
                teacher=_curves(teacher, heldout.driven),
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
            worst = farthest(curves, teacher, heldout.driven, heldout.rate_hz, heldout.offset_s)
            yield TierCurves(tier=tier, values=_curves(curves, heldout.driven), worst=worst)


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
        moments.join(Moments.of(curves, curves))
    return [heldout.driven[c] for c in sorted(np.argsort(-moments.reference_deviation)[:3])]


def _curves(values: Floats, driven: Sequence[str]) -> Curves:
    return {
        name: tuple(round(float(value), DECIMALS) for value in values[:, column])
        for column, name in enumerate(driven)
    }


def _flac(samples: Floats) -> bytes:
    """16-bit FLAC: every browser plays it, and no sample is moved, as codecs with a delay would."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
