"""Puts the int8 students that ship into compress/assets, with a card each."""

import json
from dataclasses import replace
from pathlib import Path

from compress.students.storing import load_student, save_student
from recipes.compression.rows import Row, read_rows
from recipes.compression.running import NATURAL
from recipes.compression.table import ENGLISH, QUIET, UNSEEN, against, signed

ASSETS = Path(__file__).parents[2] / "compress" / "assets"
LARGEST_BYTES = 1_000_000
TITLES = {
    NATURAL: "natural voices never heard",
    ENGLISH: "real English, speaker known, sentences held out",
    UNSEEN: "formant voices never heard",
    QUIET: "real English, 30 dB quieter",
}


def pack(folder: Path) -> None:
    """Copies the int8 student of each row that ships and was run, and writes its card."""
    for row in read_rows():
        if row.ships is None:
            continue
        source, target = folder / row.id / row.ships_step, ASSETS / row.ships
        if not source.exists():
            print(f"{row.ships}: row {row.id} was not run in {folder}")
            continue
        target.mkdir(exist_ok=True)
        student, facts = load_student(source)
        save_student(target, student, replace(facts, name=row.ships))
        (target / "README.md").write_text(card(row, folder), "utf-8")
        size = sum(path.stat().st_size for path in target.iterdir())
        assert size < LARGEST_BYTES, f"{row.ships} has {size:,} bytes, expected < {LARGEST_BYTES:,}"
        print(f"{row.ships}: {size / 1e3:.0f} kB")


def card(row: Row, folder: Path) -> str:
    """What an int8 student is, how it was made, and what it scores beside its fp32 one."""
    place = folder / row.id
    results = {
        step: json.loads((place / step / "result.json").read_text("utf-8"))
        for step in ("fp32", row.ships_step)
    }
    found, whole = results[row.ships_step], results["fp32"]
    _, facts = load_student(place / row.ships_step)
    integers = facts.quantization
    assert integers is not None
    float_layers = [name for name, choice in integers.layers.items() if choice != "int8"]
    pruning = row.pruning_settings
    cut = (
        f"Pruned by {pruning.remove:.0%} of its {pruning.of} ({pruning.criterion}, {pruning.allocation}, {pruning.rounds} × "
        f"{pruning.recovery_steps:,} steps of recovery), then made int8"
        if pruning
        else "Made int8"
    )
    how = "calibrated on training speech" if row.ships_step == "ptq" else "trained with rounding"
    text = f"""# Model card: {row.ships}

`builtin:{row.student}` ([its card](../{row.student}/README.md)) made smaller: {facts.parameters:,} parameters, {found["facts"]["multiply_adds_window"] / 1e6:.2f} M multiply-adds a window,
{found["bytes"] / 1000:.1f} kB as ONNX. {cut}, {how} ({integers.made_by["calibration_batches"]} batches, {integers.made_by["observer"]} observer). Layers with int8 weights that compute
in float: {", ".join(float_layers)}. Stored as int8 codes; scales are in `student.json`.

**Made by** `python -m recipes.compression run … --rows {row.id}`, packed by `python -m recipes.compression pack`. Learned from the same speech and labels as
`{row.student}`; no held-out speech had a part in its weights or ranges; which row ships was settled with former students, and not by these figures.

## Held-out figures, of the ONNX file

| speech | | R² to teacher | PBM at F = 1 % (n) | PBM (F) | closure F1, phones | jitter, × teacher's |
|---|---|--:|--:|--:|--:|--:|
"""
    for group, title in TITLES.items():
        for name, result in ((row.student, whole), (row.ships, found)):
            judged = result["groups"][group]
            close, said = judged["against_teacher"], judged["against_truth"]
            pbm, best, outside = (said[k] for k in ("pbm", "pbm_at_1pct", "closed_outside"))
            text += (
                f"| {title} | {name} | {close['r2']:.3f} | {best['value']:.1%} ({best['n']}) "
                f"| {pbm['value']:.1%} ({100 * outside['value']:.2f} %) "
                f"| {said['phone_f1']:.2f} | {close['jitter_ratio']:.2f} |\n"
            )
    pbm, mse, jitter, n = against(found, whole, (ENGLISH, UNSEEN, NATURAL))
    return text + (
        f"\nAgainst `{row.student}` in fp32, paired by clip, normal level, n = {n}: PBM {signed(pbm)} points, MSE × {mse[0]:.3f}, jitter × {jitter[0]:.3f}.\n"
        f"Definitions: [docs/results.md](../../../docs/results.md). Weights under Apache-2.0, as lipstill.\n"
    )
