"""The last touch to a tier's folder: its card, and the sums by which it can be checked anywhere."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from compress.speech.sources import remote
from exporters.report.records.chain import Proportion
from exporters.report.records.not_speech import compared

if TYPE_CHECKING:
    from compress.prove.verify_stage import Verified
    from compress.recipe.recipe import Recipe
    from compress.run.jobs import Inputs, TierJobs
    from exporters.bundle.card import MetricRow

# Of all that was measured, what somebody with a file at hand asks first.
SHOWN = {
    "mse": "MSE",
    "r2": "R²",
    "jitter_ratio": "jitter, × the teacher's",
    "lag_ms": "lag in ms",
    "vertex_error": "vertices off, RMS in mesh units",
    "lip_vertex_error": "farthest lip vertex off, mean in mesh units",
    "closure_f1": "closure F1",
    "pbm_at_1pct": "lips closed on /p b m/ at F = 1 %",
    "pbm": "lips closed on /p b m/",
    "closed_outside": "lips closed on other speech (F)",
    "phone_f1": "closure F1 against the phones",
}
# These are of the phones, all others of the teacher.
OF_PHONES = ("pbm_at_1pct", "pbm", "closed_outside", "phone_f1")


def run(
    recipe: "Recipe",
    inputs: "Inputs",
    tier: "TierJobs",
    parameters: int,
    verified: Mapping[str, "Verified"],
) -> None:
    """Write the card and SHA256SUMS of a tier, with the figures of the targets in `verified`."""
    from exporters.bundle.card import CardFacts, write_card
    from exporters.bundle.folder import seal_bundle

    folder = tier.export.folder
    facts = CardFacts(
        parameters=parameters,
        trained_on=_trained_on(recipe, inputs, tier),
        licence=recipe.export.license,
        metrics=tuple(_rows(recipe, inputs, verified)),
    )
    write_card(folder, facts)
    seal_bundle(folder)


def _trained_on(recipe: "Recipe", inputs: "Inputs", tier: "TierJobs") -> str:
    minutes = sum(s.clip.seconds for s in inputs.speech.spoken if s.side == "train") / 60
    names = ", ".join(map(remote.shown, recipe.speech.train))
    speech = (
        f"{minutes:.3g} minutes of speech ({names}), on curves of the teacher {inputs.teacher.name}"
    )
    settings = tier.settings
    if settings.start is None:
        return speech
    if settings.pruning or settings.quantization:
        return f"starts from {settings.start}; made smaller on {speech}"
    return f"{settings.start} as it is: nothing was trained here"


def _rows(
    recipe: "Recipe", inputs: "Inputs", verified: Mapping[str, "Verified"]
) -> "Iterator[MetricRow]":
    """Each figure with the targets in whose runtime it came out so."""
    from exporters.bundle.card import MetricRow

    yield from _resting(recipe, verified)
    minutes = sum(s.clip.seconds for s in inputs.speech.spoken if s.side == "heldout") / 60
    for metric, said in SHOWN.items():
        found: dict[tuple[str | None, int | str], list[str]] = {}
        for target, result in verified.items():
            judged = result.quality
            measured = judged.against_truth | judged.against_teacher
            if metric not in measured:  # of a mesh, where there is none
                continue
            value = measured[metric]
            if isinstance(value, Proportion):
                shown: tuple[str | None, int | str] = f"{value.value:.1%}", value.n
            else:
                shown = None if value is None else f"{value:.3g}", f"{minutes:.3g} min"
            found.setdefault(shown, []).append(target)
        for (figure, n), targets in found.items():
            yield MetricRow(
                name=f"{said} ({', '.join(targets)})",
                value=figure,
                against="the phones of held-out speech"
                if metric in OF_PHONES
                else "the teacher on held-out speech",
                n=n,
                command=f"lipstill compress {recipe.name}",
            )


def _resting(recipe: "Recipe", verified: Mapping[str, "Verified"]) -> "Iterator[MetricRow]":
    """How much the face moves on noise and music, with the targets in whose runtime it came out so."""
    from exporters.bundle.card import MetricRow
    from exporters.report.sections.not_speech import share_text

    found: dict[tuple[str | None, str, str], list[str]] = {}
    for target, result in verified.items():
        elsewhere = result.quality.not_speech
        if elsewhere is None:
            continue
        shown = None if elsewhere.movement is None else share_text(elsewhere.movement)
        seconds = sum(one.seconds for one in compared(elsewhere.sounds))
        of_teacher = share_text(elsewhere.teacher_movement)
        found.setdefault((shown, of_teacher, f"{seconds:.0f} s"), []).append(target)
    for (shown, of_teacher, seconds_heard), targets in found.items():
        yield MetricRow(
            name=f"movement on noise and music, of the teacher's in speech ({', '.join(targets)})",
            value=shown,
            against=f"the teacher's movement in held-out speech; the teacher itself: {of_teacher}",
            n=seconds_heard,
            command=f"lipstill compress {recipe.name}",
        )
