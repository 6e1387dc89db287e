"""The section of docs/results.md on smaller students, from docs/compression.json."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.bootstrap import paired_difference, ratio_of_sums
from recipes.ablation.table import DOCS, NOT_RUN, markdown, rounded, share_short
from recipes.compression.rows import Row, read_rows
from recipes.compression.running import JUDGED

Result = dict[str, Any]

ENGLISH, UNSEEN, QUIET = JUDGED
TITLES = {
    "fp32": "fp32",
    "cut": "cut, not trained again",
    "recovered": "recovered",
    "ptq": "int8, calibrated (PTQ)",
    "qat": "int8, trained (QAT)",
}
# What int8 may cost against fp32: row, steps, largest bytes, points of PBM, MSE and jitter ratios.
GOALS = (
    ("tiny", ("ptq", "qat"), 200_000, 1.0, 1.05, 1.10),
    ("tiny-60", ("ptq", "qat"), 100_000, 3.0, None, None),
)


def write(folder: Path) -> None:
    """docs/compression.json from the rows' results in `folder`."""
    found: dict[str, Any] = {}
    if (folder / "cuts.json").exists():
        found["cuts"] = json.loads((folder / "cuts.json").read_text("utf-8"))
    for row in read_rows():
        paths = {
            step: folder / row.id / step / "result.json"
            for step in TITLES
            if step != "fp32" or row.id == row.student
        }
        found[row.id] = {
            s: json.loads(p.read_text("utf-8")) for s, p in paths.items() if p.exists()
        }
        for step in found[row.id]:
            lite = folder / row.id / step / "tflite.json"
            if lite.exists():
                found[row.id][step]["tflite"] = json.loads(lite.read_text("utf-8"))
    text = json.dumps(rounded(found), separators=(",", ":"))
    (DOCS / "compression.json").write_text(text + "\n", "utf-8")


def section(found: dict[str, Any]) -> str:
    """All tables on smaller students."""
    parts = [Path(__file__).with_name("results_section.md").read_text("utf-8").rstrip()]
    rows = read_rows()
    for student in dict.fromkeys(row.student for row in rows):
        own = [row for row in rows if row.student == student]
        parts += [f"### {student}: size and quality", quality_table(own, found)]
        parts += [
            f"### {student}: against its own fp32, paired by clip",
            paired_table(own, found),
        ]
    parts += ["### What int8 was asked", goals(found)]
    scan = found.get("tiny-head", {}).get("ptq")
    if scan:
        parts += ["### One layer of `tiny` in int8 at a time, on clips set aside", scan_table(scan)]
    if "cuts" in found:
        parts += ["### Which channels go, and in which layers", cuts_table(found["cuts"])]
    return "\n\n".join(parts)


def quality_table(rows: Sequence[Row], found: dict[str, dict[str, Result]]) -> str:
    head = [
        *("row", "parameters", "M multiply-adds", "ONNX kB", ".tflite kB"),
        *("MSE · 10³", "PBM", "F1", "jitter"),
        *("MSE · 10³, unseen", "PBM", "F1", "jitter"),
        *("MSE · 10³, −30 dB", "PBM", "F1", "jitter"),
    ]
    lines = []
    for row, step, result in _steps(rows, found):
        if result is None:
            lines.append([f"`{row.id}`", NOT_RUN, *[""] * (len(head) - 2)])
            continue
        facts = result["facts"]
        lite = result.get("tflite")
        cells = [
            f"`{row.id}` {TITLES[step]}",
            f"{facts['parameters']:,}",
            f"{facts['multiply_adds_window'] / 1e6:.2f}",
            f"{result['bytes'] / 1000:.1f}",
            f"{lite['bytes'] / 1000:.1f}" if lite else "",
        ]
        for group in JUDGED:
            judged = result["groups"][group]
            close = judged["against_teacher"]
            cells += [
                f"{1000 * close['mse']:.2f}",
                share_short([judged["against_truth"]["pbm"]]),
                f"{close['closure_f1']:.2f}",
                f"{close['jitter_ratio']:.2f}",
            ]
        lines.append(cells)
    return markdown(head, lines)


def paired_table(rows: Sequence[Row], found: dict[str, dict[str, Result]]) -> str:
    head = [
        *("row", "PBM, points (n)", "MSE, ×", "jitter, ×"),
        *("PBM at −30 dB, points (n)", "MSE, ×", "jitter, ×"),
    ]
    lines = []
    for row, step, result in _steps(rows, found):
        whole = found.get(row.student, {}).get("fp32")
        if result is None or whole is None or step == "fp32":
            continue
        cells = [f"`{row.id}` {TITLES[step]}"]
        for groups in ((ENGLISH, UNSEEN), (QUIET,)):
            pbm, mse, jitter, n = against(result, whole, groups)
            cells += [f"{signed(pbm)} ({n})", _ratio(mse), _ratio(jitter)]
        lines.append(cells)
    return markdown(head, lines) if lines else NOT_RUN


Interval = tuple[float, float, float]


def against(
    result: Result, whole: Result, groups: Sequence[str]
) -> tuple[Interval, Interval, Interval, int]:
    """PBM in points, MSE and jitter as ratios, each with its 95 % interval over clips; and n."""

    def cases(one: Result) -> list[np.ndarray]:
        return [np.array(c, bool) for g in groups for c in one["groups"][g]["pbm_cases"]]

    def sums(one: Result, name: str) -> np.ndarray:
        return np.array([value for g in groups for value in one["groups"][g][name]])

    pbm = paired_difference(cases(result), cases(whole))
    return (
        (100 * pbm.value, 100 * pbm.low, 100 * pbm.high),
        ratio_of_sums(sums(result, "squared_errors"), sums(whole, "squared_errors")),
        ratio_of_sums(sums(result, "shaking"), sums(whole, "shaking")),
        pbm.n,
    )


def goals(found: dict[str, dict[str, Result]]) -> str:
    head = ["asked", "of", "limit", "found (95 % interval)", "reached", "by how much missed"]
    lines = []
    for row, steps, most_bytes, points, mse, jitter in GOALS:
        for step in steps:
            result = found.get(row, {}).get(step)
            if result is None:
                lines.append([f"`{row}` {TITLES[step]}", "", "", NOT_RUN, "", ""])
                continue
            whole = found["tiny"]["fp32"]
            pbm, error, shaking, n = against(result, whole, (ENGLISH, UNSEEN))
            name = f"`{row}` {TITLES[step]}"
            size = result.get("tflite", {}).get("bytes")
            lines.append(
                _goal(name, ".tflite bytes", most_bytes, size, f"{size:,}" if size else NOT_RUN)
            )
            lines.append(_goal(name, f"points of PBM lost (n = {n})", points, -pbm[0], signed(pbm)))
            if mse and jitter:
                lines.append(_goal(name, "MSE, × fp32", mse, error[0], _ratio(error)))
                lines.append(_goal(name, "jitter, × fp32", jitter, shaking[0], _ratio(shaking)))
    return markdown(head, lines)


def _goal(name: str, what: str, limit: float, value: float | None, shown: str) -> list[str]:
    if value is None:
        return [name, what, f"{limit:,g}", NOT_RUN, "", ""]
    kept = value <= limit
    return [
        name,
        what,
        f"{limit:,g}",
        shown,
        "yes" if kept else "no",
        "" if kept else f"{value - limit:,.3g}",
    ]


def scan_table(result: Result) -> str:
    head = ["layer", "in", "MSE, ×", "MSE at −30 dB, ×", "jitter, ×", "PBM, points", "F, points"]
    lines = [
        [
            row["layer"],
            row["choice"],
            f"{row['cost']['mse']:.3f}",
            f"{row['cost']['quiet_mse']:.3f}",
            f"{row['cost']['jitter']:.3f}",
            f"{0 - 100 * row['cost']['pbm_loss']:+.1f}",
            _rise(row["cost"].get("false_rise")),
        ]
        for row in result["record"]["scan"]["rows"]
    ]
    return markdown(head, lines)


def _rise(share: float | None) -> str:
    return "not run" if share is None else f"{100 * share:+.2f}"


def cuts_table(rows: Sequence[Result]) -> str:
    head = [
        "removed",
        "criterion",
        "allocation",
        "parameters",
        "M multiply-adds",
        "loss · 10³",
        "R²",
        "PBM",
    ]
    lines = [
        [
            f"{row['remove']:.0%}",
            row.get("criterion", ""),
            row.get("allocation", ""),
            f"{row['parameters']:,}",
            f"{row['multiply_adds'] / 1e6:.2f}",
            f"{1000 * row['loss']:.2f}",
            f"{row['r2']:.3f}",
            f"{row['pbm']:.1%}",
        ]
        for row in rows
    ]
    return markdown(head, lines)


def _steps(
    rows: Sequence[Row], found: dict[str, dict[str, Result]]
) -> list[tuple[Row, str, Result | None]]:
    """Every step of every row; the float student once, and a row without results once."""
    listed: list[tuple[Row, str, Result | None]] = []
    for row in rows:
        own = found.get(row.id, {})
        steps = [s for s in TITLES if s in own and (s != "fp32" or row.id == row.student)]
        listed += [(row, step, own[step]) for step in steps] or [(row, "fp32", None)]
    return listed


def signed(interval: Interval) -> str:
    value, low, high = interval
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _ratio(interval: Interval) -> str:
    value, low, high = interval
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
