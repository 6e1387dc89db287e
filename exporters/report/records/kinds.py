"""Figures of a row by kind of voice, and the kind that fares worst."""

from dataclasses import dataclass

from exporters import records
from exporters.report.records.chain import Measurements, Proportion


@records.strict
@dataclass(frozen=True, kw_only=True)
class KindFigures:
    """What a row's figures are on one kind of voice, or on one language of it."""

    kind: str
    """As the recipe calls it, or `other speech` for what it names nowhere."""
    language: str | None
    """The folder of two letters in the clips' names, or null for all of the kind."""
    clips: int
    """Held-out clips of it."""
    voices: int
    """Voices that say them. With one, intervals are over its clips, and say nothing of others."""
    against_teacher: Measurements
    """mse, r2 and closure_f1 against the teacher's curves."""
    against_truth: Measurements
    """pbm_at_1pct, pbm, closed_outside, phone_f1, ... against the phones; null without alignments."""


def whole(kinds: tuple[KindFigures, ...]) -> tuple[KindFigures, ...]:
    """Those of a whole kind, not of one language."""
    return tuple(one for one in kinds if one.language is None)


def worst(kinds: tuple[KindFigures, ...]) -> KindFigures | None:
    """The kind with the lowest PBM accuracy at F = 1 %, or where none has it, the lowest R².

    None where there are fewer than two kinds to choose from.
    """
    whole_ones = whole(kinds)
    if len(whole_ones) < 2:
        return None
    for value in (_closed, _r2):
        known = [(found, one) for one in whole_ones if (found := value(one)) is not None]
        if known:
            return min(known, key=lambda pair: pair[0])[1]
    return None


def _closed(one: KindFigures) -> float | None:
    share = one.against_truth.get("pbm_at_1pct")
    return share.value if isinstance(share, Proportion) else None


def _r2(one: KindFigures) -> float | None:
    found = one.against_teacher.get("r2")
    return found if isinstance(found, float) else None
