"""What can be asked of a model file in a report: one row for each figure, and nothing anywhere else.

The limits of a recipe, the options of ``choose``, what ``compare`` compares and by which noise derive
from this table. A figure is read from a file's row, or is None where it was not measured; NaN stands
for what was measured and gave no number, which is a failure.
"""

from typing import TYPE_CHECKING

from exporters.report import readings as of
from exporters.report.figure import (
    ANY,
    AT_MOST_1,
    BYTES,
    COPY,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Allowance,
    Figure,
    Gate,
    Noise,
    Option,
    Subject,
    f1,
    ratio,
)
from exporters.report.readings import only_evaluated

if TYPE_CHECKING:
    from exporters.report.records.document import Made, ReportDocument

_COMPRESSED, _INT8, _TFLITE = (
    frozenset({"fp16", "int8"}),
    frozenset({"int8"}),
    frozenset({"tflite"}),
)

FIGURES: dict[str, Figure] = {
    "r2": Figure(
        *("R² against the teacher", "more", "", of.copied("r2")),
        gate=Gate("lowest R² against the teacher on held-out speech", AT_MOST_1),
        option=Option("min_r2", "Lowest R² against the teacher.", AT_MOST_1),
        noise=Noise(
            Allowance(absolute=0.005), "more than rounding to int8 costs (README.md)", COPY
        ),
        sums=ratio("squared_error", "spread").less_than_1,
        headline=True,
    ),
    "pbm_at_1pct": Figure(
        *("PBM accuracy at F = 1 %", "more", "share", of.truth("pbm_at_1pct", "pbm_at_1pct")),
        gate=Gate(
            "lowest PBM accuracy with the aperture's limit moved to where 1 % of other speech lies "
            "below it, 0 to 1",
            SHARE,
        ),
        option=Option(
            "min_pbm_at_1pct", "Lowest share of /p b m/ with closed lips at F = 1 %.", SHARE
        ),
        noise=Noise(
            Allowance(absolute=0.02), "never needed: as pbm", depends=("speech",), counted=True
        ),
        # The moved limit is taken as given: it is that of all clips in every draw.
        sums=ratio("sealed_at_1pct", "sounds"),
        share="pbm_at_1pct",
        headline=True,
        of_teacher=True,
    ),
    "pbm": Figure(
        *("PBM accuracy", "more", "share", of.sounds_closed),
        gate=Gate("lowest PBM accuracy, 0 to 1; say max_false_closures with it", SHARE),
        option=Option("min_pbm", "Lowest share of /p b m/ with closed lips.", SHARE),
        noise=Noise(
            Allowance(absolute=0.02),
            "never needed: every share has its interval",
            depends=("speech",),
            counted=True,
        ),
        sums=ratio("sealed", "sounds"),
        share="pbm",
        headline=True,
        of_teacher=True,
    ),
    "pbm_of_teacher": Figure(
        *("PBM accuracy by the teacher's", "more", "times", of.kept),
        gate=Gate("lowest PBM accuracy by the teacher's own; 1 is as good as it", NOT_NEGATIVE),
        option=Option(
            "min_pbm_of_teacher",
            "Lowest share of /p b m/ with closed lips, relative to the teacher's.",
        ),
        headline=True,
    ),
    # F, of all phones. In rows `false_closures` are of vowels alone, as they were in older reports.
    "false_closures": Figure(
        *("false closures (F)", "less", "share", of.false_closures),
        gate=Gate("largest share of speech outside of /p b m/ with closed lips, 0 to 1", SHARE),
        option=Option(
            "max_false_closures", "Largest share of other speech with closed lips (F).", SHARE
        ),
        noise=Noise(
            Allowance(absolute=0.002), "never needed: as pbm", depends=("speech",), counted=True
        ),
        sums=ratio("closed_outside", "outside"),
        share="closed_outside",
        headline=True,
        of_teacher=True,
    ),
    "phone_f1": Figure(
        *("closure F1 against the phones", "more", "", of.truth("phone_f1", "pbm")),
        gate=Gate("lowest F1 of lip closures against the phones, 0 to 1", SHARE),
        option=Option("min_phone_f1", "Lowest F1 of closures, by the phones.", SHARE),
        noise=Noise(
            Allowance(absolute=0.02),
            "of a report without sums by clip: as closure_f1",
            depends=("speech",),
            counted=True,
        ),
        sums=f1("phone_"),
        headline=True,
        of_teacher=True,
    ),
    "closure_f1": Figure(
        *("closure F1", "more", "", of.copied("closure_f1")),
        gate=Gate("lowest F1 of lip closures against the teacher's, 0 to 1", SHARE),
        option=Option("min_closure_f1", "Lowest F1 of lip closures.", SHARE),
        noise=Noise(
            Allowance(absolute=0.02),
            "of a report without sums by clip: counts closures, as PBM counts sounds",
            COPY,
            counted=True,
        ),
        sums=f1(),
        headline=True,
    ),
    "r2_over_ridge": Figure(
        *("R² above the ridge", "more", "", of.over_ridge),
        gate=Gate("least by which R² exceeds that of a ridge regression", ANY),
    ),
    "mse": Figure(
        *("MSE against the teacher", "less", "rig", of.copied("mse")),
        gate=Gate("largest MSE against the teacher, in rig units squared", NOT_NEGATIVE),
        noise=Noise(Allowance(relative=0.02), "about what 0.005 of R² is at R² 0.7", COPY),
        sums=ratio("squared_error", "values"),
    ),
    "jitter_ratio": Figure(
        *("jitter by the teacher's", "less", "times", of.copied("jitter_ratio")),
        gate=Gate("largest jitter by the teacher's; 1 is as calm as it", POSITIVE),
        option=Option("max_jitter", "Largest jitter by the teacher's."),
        noise=Noise(
            Allowance(relative=0.05),
            "a third difference magnifies what rounding leaves; int8 costs up to 2 %",
            COPY,
        ),
        sums=ratio("shaking", "teacher_shaking"),
        headline=True,
    ),
    "lag_ms": Figure(
        *("lag, late or early (ms)", "less", "ms", of.lag),
        gate=Gate("largest lag behind the teacher, or lead before it", NOT_NEGATIVE),
        noise=Noise(
            Allowance(absolute=1.0), "read between frames, 16.7 ms apart at 60 a second", COPY
        ),
    ),
    "rest_movement": Figure(
        *("movement on noise and music, of the teacher's in speech", "less", "share"),
        of.on_rest("movement"),
        gate=Gate(
            "most movement on noise, hum, typing and music, relative to the teacher's in speech; 0.1 "
            "is a tenth, at 1 the face is as lively as in speech",
            NOT_NEGATIVE,
        ),
    ),
    "rest_distance": Figure(
        *("distance from rest on noise and music, of the teacher's in speech", "less", "share"),
        of.on_rest("distance"),
        gate=Gate(
            "largest mean distance from the teacher's rest pose on the same sounds, relative to the "
            "teacher's in speech; a mouth that stays open is far from rest without moving",
            NOT_NEGATIVE,
        ),
    ),
    "parity": Figure(
        *("largest difference from PyTorch", "less", "rig"),
        lambda subject: of.largest_difference(subject.parity),
        gate=Gate(
            "largest difference of a file from its PyTorch source, in rig units", NOT_NEGATIVE
        ),
        noise=Noise(
            Allowance(absolute=1e-6, relative=1.0),
            "the largest of some thousand differences of rounding; twice as much of them says little",
        ),
    ),
    "bytes": Figure(
        *("bytes", "less", "bytes", of.file_bytes),
        gate=Gate("largest model file, in bytes", BYTES),
        option=Option("max_kb", "Largest file, in kB of 1000 bytes.", factor=1000),
        noise=Noise(
            Allowance(relative=0.005),
            "hashes and versions inside a file change with every recipe",
        ),
        headline=True,
        of_teacher=True,
    ),
    "download_bytes": Figure(
        *("download bytes", "less", "bytes", of.download),
        gate=Gate("largest model file as a download, compressed, in bytes", BYTES),
        option=Option("max_download_kb", "Largest file as a download, in kB.", factor=1000),
        noise=Noise(Allowance(relative=0.005), "as bytes, and other weights compress otherwise"),
        headline=True,
    ),
    "future_ms": Figure(
        *("algorithmic latency (ms)", "less", "ms", of.future_ms),
        gate=Gate(
            "longest algorithmic latency: future audio, one hop and smoothing together",
            NOT_NEGATIVE,
        ),
        option=Option("max_future_ms", "Longest wait for future audio, one hop and smoothing."),
        noise=Noise(Allowance(), "declared, not measured: any change is meant"),
        headline=True,
    ),
    "times_smaller": Figure(
        *("times smaller than the teacher", "more", "times", of.smaller),
        gate=Gate(
            "least by which a file is smaller than the teacher's; 50 is a fiftieth", POSITIVE
        ),
    ),
    "times_faster": Figure(
        *("times faster than the teacher", "more", "times", of.faster),
        runs=True,
        gate=Gate(
            "least by which a second of animation is computed faster than by the teacher, in turns "
            "with it, one thread",
            POSITIVE,
        ),
        noise=Noise(
            Allowance(relative=0.2),
            "in turns with the teacher, yet processors favour one or the other",
            depends=("teacher",),
        ),
        headline=True,
    ),
    "latency_ratio": Figure(
        *("latency by the fp32 file's", "less", "times", of.latency_ratio),
        runs=True,
        gate=Gate(
            "longest time of one prediction with one thread, by that of the fp32 file of the same "
            "student and target, which is not asked itself",
            POSITIVE,
            _COMPRESSED,
        ),
        noise=Noise(Allowance(relative=0.2), "in turns with the fp32 file; as times_faster"),
        asked_of=of.is_compressed,
    ),
    "frame_share": Figure(
        *("share of a 16 ms frame", "less", "share", of.frame_share),
        runs=True,
        gate=Gate(
            "longest median time of one prediction with one thread, by a frame of 16 ms; of the "
            "machine that runs the recipe",
            POSITIVE,
        ),
        option=Option("max_frame_share", "Longest median of a prediction, by a frame of 16 ms."),
        headline=True,
    ),
    # Shown by comparisons, and never judged: milliseconds of two machines, or of two hours on one.
    "ms": Figure(
        *("median of one prediction (ms)", "less", "ms", of.median_ms),
        runs=True,
        option=Option("max_ms", "Longest median of a prediction in milliseconds, one thread."),
        headline=True,
    ),
    "memory_bytes": Figure(
        *("memory (bytes)", "less", "bytes", of.memory),
        runs=True,
        gate=Gate("most memory by which a process grows that loads and runs the file", BYTES),
        option=Option("max_memory_mb", "Most memory, in MB of 1000 kB.", factor=1_000_000),
        noise=Noise(
            Allowance(absolute=131_072, relative=0.1),
            "allocators take memory in pieces, of 128 kB and more, and runtimes change with versions",
        ),
        headline=True,
    ),
    "arena_bytes": Figure(
        *("arena (bytes)", "less", "bytes", of.arena),
        gate=Gate(
            "largest arena of TensorFlow Lite Micro; asked of int8 TFLite files only",
            BYTES,
            _INT8,
            _TFLITE,
        ),
        noise=Noise(
            Allowance(relative=0.01), "counted by its allocator, a version's alignment apart"
        ),
        asked_of=of.has_arena,
    ),
}
"""By the words that recipes and options have for them: ``max_bytes`` and ``--max-…`` ask ``bytes``."""


def limit_names() -> dict[str, str]:
    """The limits of a recipe, ``min_X`` or ``max_X``, and the figure X that each asks."""
    return {
        f"{'max' if figure.better == 'less' else 'min'}_{name}": name
        for name, figure in FIGURES.items()
        if figure.gate is not None
    }


def gate_name(made: "Made", figure: Figure) -> str:
    """What the gate on a figure of a file is called in the report."""
    return f"{made.tier} {made.target}: {figure.name}"


def excused(report: "ReportDocument") -> frozenset[str]:
    """Names of gates that can never run on the report's machine.

    These are the gates on time and memory of files that are only evaluated there, as Core ML
    packages are elsewhere than on macOS.
    """
    return frozenset(
        gate_name(row.made, figure)
        for row in report.tiers
        if row.made is not None and only_evaluated(row)
        for figure in FIGURES.values()
        if figure.runs
    )


def beside(name: str, subject: Subject) -> str:
    """What must be read with a figure: ``with F 2.7 %`` with PBM accuracy, where it is measured.

    Empty with all others.
    """
    if name not in ("pbm", "pbm_of_teacher") or FIGURES[name].known(subject) is None:
        return ""
    from exporters.report.wording import percent

    return f"with F {percent(of.false_closures(subject))}"
