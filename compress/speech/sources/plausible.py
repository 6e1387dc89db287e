"""What a manifest can say of a recording: a week of it at most, whatever else stands there."""

from collections.abc import Mapping
from typing import Any

from compress.speech.decoder import SAMPLE_RATES

WEEK_S = 7 * 24 * 3600
RATES = (SAMPLE_RATES[0], SAMPLE_RATES[-1], " Hz")
LIMITS = {
    "start": (0, WEEK_S, " seconds"),
    "duration": (1e-6, WEEK_S, " seconds"),
    "num_samples": (1, WEEK_S * SAMPLE_RATES[-1], ""),
    "channel": (0, 1023, ""),
    "channels": (0, 1023, ""),
    "channel_ids": (0, 1023, ""),
    "sampling_rate": RATES,
    "source_sampling_rate": RATES,
    "target_sampling_rate": RATES,
    "factor": (0.01, 100, ""),
}
AGREED_S = 0.025  # by so much Lhotse lets lengths differ
LISTS = ("channel", "channels", "channel_ids")


def check_numbers(described: Mapping[str, Any]) -> None:
    """Raise `ValueError` for what says a number that no recording has, naming what may be said."""
    for key, (least, most, unit) in LIMITS.items():
        if (value := described.get(key)) is None:
            continue
        for number in value if key in LISTS and isinstance(value, list) else [value]:
            if isinstance(number, str | bool) or not least <= number <= most:
                raise ValueError(f"its {key} is {_short(number)}, expected {least} to {most}{unit}")


def check_length(recording: Mapping[str, Any]) -> None:
    """Raise `ValueError` where a recording's two lengths are not one."""
    samples, rate = recording.get("num_samples"), recording.get("sampling_rate")
    seconds = float(recording["duration"])
    if samples and rate and abs(seconds - samples / rate) > AGREED_S:
        raise ValueError(
            f"its duration is {seconds:g} s, but {samples} samples at {rate} Hz are "
            f"{samples / rate:g} s"
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}… of {len(text)} digits"
