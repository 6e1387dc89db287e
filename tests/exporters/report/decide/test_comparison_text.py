"""A comparison in words: Markdown, lines for a terminal, and the verdict."""

import math
from collections.abc import Collection
from typing import Any

import pytest

from exporters.proof.checks import Check
from exporters.report.decide.comparison import ReportComparison, compare
from exporters.report.decide.comparison_text import to_lines, to_markdown, verdict
from exporters.report.figure import Allowance
from exporters.report.records.document import ReportDocument, Tier
from tests.exporters.compared import gate, of, other_speech
from tests.exporters.documents import (
    file_row,
)

SMALL = """\
## 3 regressions

demo, 2025-11-22, recipe c0ffee → demo, 2025-11-22, recipe c0ffee

- Other tools: torch 2.13.0 → 2.14.0.

### Worse

- **broken**: gate tiny-int8 onnx: bytes failed (passed before): 203,000, expected <= 200,000 (1.5 % over)

| File | Figure | Old | New | Change | |
|---|---|--:|--:|--:|---|
| tiny-int8 onnx, tflite | bytes | 187,201 | 203,000 | +8.4 % | **regression (limit 0.5 %)** |
| tiny-int8 onnx, tflite | download bytes | 149,760 | 162,400 | +8.4 % | worse (limit 10 %) |

### Better, or new

- new: nano-int8

| File | Figure | Old | New | Change | |
|---|---|--:|--:|--:|---|
| tiny-int8 onnx, tflite | PBM accuracy, with F 2.0 % → 2.1 % | 81 % | 94.25 % | +13 points | better |
| tiny-int8 onnx, tflite | algorithmic latency (ms) | 80 | 64 | −16 ms | better |

<details><summary>Every figure: 29 same, 4 better, 4 worse, 2 shown only</summary>

| File | Figure | Old | New | Change | |
|---|---|--:|--:|--:|---|
| the teacher | PBM accuracy at F = 1 % | 90 % | 90 % |  | same |
| the teacher | PBM accuracy, with F 1.0 % → 1.0 % | 90 % | 90 % |  | same |
| the teacher | false closures (F) | 1 % | 1 % |  | same |
| the teacher | closure F1 against the phones | 0.9 | 0.9 |  | same |
| the teacher | bytes | 36,000,000 | 36,000,000 |  | same |
| tiny-int8 onnx, tflite | R² against the teacher | 0.65 | 0.65 |  | same |
| tiny-int8 onnx, tflite | PBM accuracy at F = 1 % | 81 % | 81 % |  | same |
| tiny-int8 onnx, tflite | PBM accuracy, with F 2.0 % → 2.1 % | 81 % | 94.25 % | +13 points | better |
| tiny-int8 onnx, tflite | false closures (F) | 2 % | 2.1 % | +0.1 points | same |
| tiny-int8 onnx, tflite | closure F1 against the phones | 0.7 | 0.7 |  | same |
| tiny-int8 onnx, tflite | closure F1 | 0.8 | 0.8 |  | same |
| tiny-int8 onnx, tflite | MSE against the teacher | 0.004 | 0.00401 | +0.25 % | same |
| tiny-int8 onnx, tflite | jitter by the teacher's | 1.5 | 1.5 |  | same |
| tiny-int8 onnx, tflite | lag, late or early (ms) | 2 | 2 |  | same |
| tiny-int8 onnx, tflite | largest difference from PyTorch | 0.0005 | 0.0005 |  | same |
| tiny-int8 onnx, tflite | bytes | 187,201 | 203,000 | +8.4 % | **regression (limit 0.5 %)** |
| tiny-int8 onnx, tflite | download bytes | 149,760 | 162,400 | +8.4 % | worse (limit 10 %) |
| tiny-int8 onnx, tflite | algorithmic latency (ms) | 80 | 64 | −16 ms | better |
| tiny-int8 onnx, tflite | times faster than the teacher | 40 | 40 |  | same |
| tiny-int8 onnx, tflite | latency by the fp32 file's | 0.8 | 0.8 |  | same |
| tiny-int8 onnx, tflite | memory (bytes) | 2,000,000 | 2,000,000 |  | same |
| tiny-int8 onnx, tflite | median of one prediction (ms) | 0.2 | 0.2 |  | shown only |

</details>
"""


@pytest.fixture
def small() -> ReportComparison:
    old = of(file_row(), file_row(target="tflite"), gates=(gate(187_201),))
    later = {
        "size": 203_000,
        "pbm": 0.9425,
        "pbm_at_1pct": 0.81,
        "closed_outside": 0.021,
        "future_ms": 64.0,
        "mse": 0.00401,
    }
    rows = [file_row(target=target, **later) for target in ("onnx", "tflite")]
    new = of(*rows, file_row("nano"), gates=(gate(203_000),), versions={"torch": "2.14.0"})
    return compare(old, new, limits={"download_bytes": Allowance(relative=0.1)})


def test_the_markdown_of_a_small_one(small: ReportComparison) -> None:
    assert to_markdown(small) == SMALL


def test_the_lines_of_a_small_one(small: ReportComparison) -> None:
    assert to_lines(small) == [
        "3 regressions.",
        "demo, 2025-11-22, recipe c0ffee → demo, 2025-11-22, recipe c0ffee",
        "note: Other tools: torch 2.13.0 → 2.14.0.",
        "broken: gate tiny-int8 onnx: bytes failed (passed before): 203,000, expected <= 200,000 (1.5 % over)",
        "",
        "worse:",
        "  tiny-int8 onnx, tflite  bytes           187,201  →  203,000  +8.4 %  regression (limit 0.5 %)",
        "  tiny-int8 onnx, tflite  download bytes  149,760  →  162,400  +8.4 %  worse (limit 10 %)",
        "",
        "better:",
        "  tiny-int8 onnx, tflite  PBM accuracy, with F 2.0 % → 2.1 %  81 %  →  94.25 %  +13 points  better",
        "  tiny-int8 onnx, tflite  algorithmic latency (ms)            80    →  64       −16 ms      better",
        "",
        "new: nano-int8",
        "",
        "29 same, 4 better, 4 worse, 2 shown only; --markdown and --json show every figure",
    ]


def test_text_from_outside_breaks_no_table() -> None:
    row = file_row()
    check = Check(file=row.path or "", what="a | b", status="failed", detail="two\nlines | here")
    text = to_markdown(compare(of(row), of(row, checks=(check,))))
    assert "a \\| b of models/tiny-int8/model.onnx failed (new): two lines \\| here" in text


def test_the_verdict_in_a_line() -> None:
    def said(new: ReportDocument, **given: Any) -> str:
        return verdict(compare(of(file_row()), new, **given))

    assert said(of(file_row())) == "No change beyond the noise"
    assert said(of(file_row(r2=0.6))) == "1 regression"
    assert said(of(file_row(r2=0.7, mse=0.003))) == "No regression: 0 worse within limits, 2 better"
    assert said(other_speech(of(file_row()))) == (
        "13 figures cannot be compared; no regression in the others"
    )
    limits = {"r2": Allowance(absolute=math.inf)}
    assert said(of(file_row(r2=0.6)), limits=limits) == (
        "No regression: 1 worse within limits, 0 better"
    )


def test_a_long_list_ends_with_a_count() -> None:
    students = [f"s{i}" for i in range(20)]

    def rows(r2: float) -> Collection[Tier]:
        return [file_row(name, r2=r2) for name in students]

    text = to_markdown(compare(of(*rows(0.7)), of(*rows(0.6))))
    shown, _, folded = text.partition("<details>")
    assert shown.count("**regression (limit 0.005)**") == 12
    assert "and 8 more in the table of every figure." in shown
    assert folded.count("**regression (limit 0.005)**") == 20
