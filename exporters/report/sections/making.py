"""How students came to be: training, channels that left, and int8."""

from exporters.report.decide.advice import join
from exporters.report.records.compression import Pruning, Quantization
from exporters.report.records.document import ReportDocument
from exporters.report.sections.tables import Cell, Code, Section, Table
from exporters.report.wording import (
    CHOICES,
    NOT_RUN,
    human_count,
    human_size,
    limit_cells,
    number,
    percent,
    ratio_text,
)

NONE = "–"
SET_ASIDE = (
    "Figures here are of clips set aside from training speech, by which choices were made; they "
    "are not of held-out speech, as those of the tiers are."
)


def training_section(document: ReportDocument) -> Section:
    """Losses, and R² on clips set aside, over the steps of training."""
    trainings = document.training
    return Section(
        anchor="training",
        title="Training",
        summary=join([training.student for training in trainings]) or "none in this run",
        paragraphs=tuple(
            f"{training.student}: {training.steps:,} steps in {number(training.seconds)} s. "
            + " ".join(
                f"Final {name.replace('_', ' ')} loss {number(loss)}."
                for name, loss in training.final_losses.items()
            )
            for training in trainings
        ),
        charts=tuple(
            f"Loss, and R² on clips set aside, of {training.student} over training steps"
            for training in trainings
        ),
    )


def pruning_section(document: ReportDocument) -> Section:
    """Channels that left, round by round."""
    return Section(
        anchor="pruning",
        title="Pruning",
        summary=join([pruning.student for pruning in document.pruning]) or "none in this run",
        paragraphs=(SET_ASIDE, *(_pruned(pruning) for pruning in document.pruning))
        if document.pruning
        else (),
        tables=tuple(
            table for p in document.pruning for table in (_removed(p), _layers(p), _rounds(p))
        ),
    )


def _pruned(pruning: Pruning) -> str:
    budget = pruning.budget_of.replace("_", "-")
    return (
        f"{pruning.student}: asked to lose {percent(pruning.asked)} of its {budget}, it lost "
        f"{percent(pruning.removed)}. Channels were chosen by {pruning.criterion}, spread over "
        f"layers by {pruning.allocation}."
    )


def _removed(pruning: Pruning) -> Table:
    parameters = pruning.parameters_before, pruning.parameters_after
    multiply_adds = pruning.multiply_adds_before, pruning.multiply_adds_after
    stored = pruning.bytes_before, pruning.bytes_after
    rows = (
        ("parameters", human_count, parameters),
        ("multiply-adds for one window", human_count, multiply_adds),
        ("weights, were they stored as int8", human_size, stored),
    )
    return Table(
        caption=f"What left {pruning.student}",
        headers=("Of", "Before", "After", "Removed"),
        rows=tuple(
            (what, shown(before), shown(after), percent(1 - after / before))
            for what, shown, (before, after) in rows
        ),
    )


def _layers(pruning: Pruning) -> Table:
    return Table(
        caption=f"Channels of {pruning.student}",
        headers=("Layer", "Before", "After"),
        rows=tuple(
            (Code(layer.name), str(layer.channels_before), str(layer.channels_after))
            for layer in pruning.layers
        ),
    )


def _rounds(pruning: Pruning) -> Table:
    rows: list[tuple[Cell, ...]] = []
    parameters = pruning.parameters_before
    for step in pruning.rounds:
        moments = (
            ("before the cut", parameters, step.before_cut),
            ("after the cut", step.parameters, step.after_cut),
            (
                f"after {step.recovery_steps:,} steps of recovery",
                step.parameters,
                step.after_recovery,
            ),
        )
        for moment, count, quality in moments:
            lips = percent(quality.pbm), percent(quality.false_closures)
            figures = (number(quality.loss), number(quality.r2), *lips)
            rows.append((moment, str(step.round), human_count(count), *figures))
        parameters = step.parameters
    return Table(
        caption=f"Rounds of {pruning.student}",
        headers=("Moment", "Round", "Parameters", "Loss", "R² to teacher", "PBM", "F"),
        rows=tuple(rows),
    )


def quantization_section(document: ReportDocument) -> Section:
    """int8: each layer's choice, its gate, and the sensitivity scan."""
    made = document.quantization
    return Section(
        anchor="int8",
        title="int8 and its sensitivity scan",
        summary=join([quantization.student for quantization in made]) or "none in this run",
        paragraphs=(SET_ASIDE, *(_quantized(quantization) for quantization in made))
        if made
        else (),
        tables=tuple(table for quantization in made for table in _integer_tables(quantization)),
    )


def _quantized(made: Quantization) -> str:
    after = {
        "qat": "then trained on with rounding in place (QAT)",
        "ptq": "and no training after that (PTQ)",
    }[made.method]
    chosen = (
        "the recipe names the layers left in float"
        if made.chosen_by == "recipe"
        else "the fewest layers were left in float with which the gate holds"
    )
    return (
        f"{made.student}: ranges found by {made.observer} on {made.calibration_batches} batches of "
        f"training speech (seed {made.seed}), {after}; {chosen}."
    )


def _integer_tables(made: Quantization) -> list[Table]:
    tables = [
        Table(
            caption=f"Layers of {made.student}",
            headers=("Layer", "Computed as"),
            rows=tuple((Code(name), CHOICES[choice]) for name, choice in made.layers.items()),
            words=2,
        )
    ]
    if made.gate:
        tables.append(
            Table(
                caption=f"Gate of {made.student}",
                headers=("Gate", "Measured", "At most", "Holds"),
                rows=tuple(limit_cells(name, kept) for name, kept in made.gate.items()),
            )
        )
    if made.scan:
        headers = ("Tried on", "As", "MSE, ×", "MSE 30 dB quieter, ×", "Jitter, ×")
        tables.append(
            Table(
                caption=f"Sensitivity scan of {made.student}",
                headers=(*headers, "Closures, points", "F, points", "Chosen"),
                rows=tuple(
                    (
                        Code(row.what),
                        CHOICES[row.choice],
                        ratio_text(row.mse_ratio),
                        ratio_text(row.quiet_mse_ratio),
                        ratio_text(row.jitter_ratio),
                        NOT_RUN if row.pbm_points is None else f"{row.pbm_points:+.1f}",
                        NOT_RUN if row.false_points is None else f"{row.false_points:+.2f}",
                        "yes" if row.chosen else "",
                    )
                    for row in made.scan
                ),
                words=2,
                note="×: times the float student's. Closures: percentage points of /p b m/ with closed "
                "lips. F: those of all other speech with closed lips.",
                strong=frozenset(i for i, row in enumerate(made.scan) if row.chosen),
            )
        )
    return tables
