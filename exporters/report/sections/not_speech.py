"""Sound that is not speech in words and tables, for Markdown, page and cards alike."""

from collections.abc import Sequence

from exporters.report.records.document import Tier
from exporters.report.records.not_speech import NotSpeech, compared
from exporters.report.wording import NOT_RUN, number

NOTE = (
    "The same seconds of noise, hum, typing and music in every report. Movement and distance are means "
    "over all controls, relative to the teacher's own in speech: at 0 % the face rests, at 100 % it is "
    "as lively as if somebody spoke. "
    "Distance is that from the rest pose, which the teacher holds on digital silence. Lips: share of "
    "frames in which they are open and the rest pose has them closed, or the other way round."
)


def summary_table(tiers: Sequence[Tier]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers, and a row for each model that was asked: all `compared` sounds together."""
    headers: tuple[str, ...] = (
        "Tier",
        "movement, of the teacher's in speech",
        "distance from rest, of the teacher's in speech",
        "farthest from rest (rig units)",
        "lips not as at rest",
    )
    rows: list[tuple[str, ...]] = []
    for tier, found in _asked(tiers):
        sounds = compared(found.sounds)
        farthest = [one.farthest for one in sounds]
        changed = [(one.seconds, one.lips_changed) for one in sounds]
        known = [(seconds, share) for seconds, share in changed if share is not None]
        lips = None
        if known and len(known) == len(changed):
            lips = sum(s * share for s, share in known) / sum(s for s, _ in known)
        largest = [value for value in farthest if value is not None]
        rows.append(
            (
                tier.name,
                share_text(found.movement),
                share_text(found.distance),
                number(max(largest) if largest and len(largest) == len(farthest) else None),
                share_text(lips),
            )
        )
    return headers, rows


def sound_table(tiers: Sequence[Tier]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers, and a row for each model: its movement on each kind of sound."""
    asked = _asked(tiers)
    kinds = list(dict.fromkeys(one.sound for _, found in asked for one in found.sounds))
    rows = [
        (tier.name, *(share_text(found.movement_on(kind)) for kind in kinds))
        for tier, found in asked
    ]
    return ("Tier", *kinds), rows


def sentence(found: NotSpeech) -> str:
    """``On noise and music the face moves 12 % as much as in speech; the teacher: 38 %.``"""
    own, teacher = share_text(found.movement), share_text(found.teacher_movement)
    if own == NOT_RUN:
        return f"movement on noise and music: {NOT_RUN}"
    beside = "" if teacher == NOT_RUN else f"; the teacher: {teacher}"
    return f"On noise and music the face moves {own} as much as in speech{beside}."


def share_text(share: float | None) -> str:
    """A share in whole per cent, with a decimal below 10 %."""
    if share is None:
        return NOT_RUN
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:,.0f} %"


def _asked(tiers: Sequence[Tier]) -> list[tuple[Tier, NotSpeech]]:
    return [
        (tier, tier.not_speech)
        for tier in tiers
        if tier.not_speech is not None and tier.not_speech.sounds
    ]
