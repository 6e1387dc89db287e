"""Clips as the page carries them: curves as 16-bit integers, audio as it is, both in base64.

A clip has every driven control of every tier: as text it would be five times as large.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exporters.report.records.clips import Clip, Curves, Span

# Of a control's largest value in the clip; the page needs no more than a thousandth.
_STEPS = 32_767


def pack_clip(clip: Clip, tiers: Sequence[str], audio: bytes | None) -> dict[str, Any]:
    """A clip for the page; its tiers by their place in `tiers`, others left out.

    Values of a control are integers times its step: int16, little-endian, control after control.
    """
    controls = list(clip.teacher)
    everyone = [clip.teacher, *(tier.values for tier in clip.tiers)]
    steps = [
        max(1e-9, *(abs(value) for curves in everyone for value in curves[control])) / _STEPS
        for control in controls
    ]
    return {
        "clip": clip.clip,
        "text": clip.text,
        "audio": None if audio is None else base64.b64encode(audio).decode(),
        "rate": clip.rate_hz,
        "offset": clip.offset_s,
        "frames": len(clip.teacher[controls[0]]),
        "controls": controls,
        "steps": steps,
        "teacher": _pack(clip.teacher, controls, steps),
        "tiers": {
            str(tiers.index(tier.tier)): {
                "values": _pack(tier.values, controls, steps),
                "worst": {
                    "time": tier.worst.time_s,
                    "error": tier.worst.error,
                    "control": tier.worst.control,
                },
            }
            for tier in clip.tiers
            if tier.tier in tiers
        },
        "shown": list(clip.shown),
        "sealed": _spans(clip.sealed),
        "phones": _spans(clip.phones),
    }


def _pack(curves: Curves, controls: Sequence[str], steps: Sequence[float]) -> str:
    codes = [
        np.round(np.asarray(curves[c]) / step) for c, step in zip(controls, steps, strict=True)
    ]
    return base64.b64encode(np.stack(codes).astype("<i2").tobytes()).decode()


def _spans(spans: Sequence[Span]) -> list[list[str | float]]:
    return [[span.label, span.start_s, span.end_s] for span in spans]


def fitting(sizes: Sequence[int], room: int) -> int:
    """How many clips from the first on fit into so many bytes."""
    count = 0
    for size in sizes:
        room -= size
        if room < 0:
            break
        count += 1
    return count


def audio_of(clip: Clip, audio: Mapping[str, bytes]) -> bytes | None:
    """The clip's FLAC, or None where there is none: it is shown without sound."""
    return audio.get(clip.audio)
