"""The report of pruning and int8: what it refuses, and how it reads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from exporters import records
from exporters.proof.parity import ParityResult, SetParity
from exporters.report.records.compression import (
    KeptLimit,
    PrunedLayer,
    Pruning,
    PruningRound,
    Quality,
    Quantization,
    ScanRow,
)
from exporters.report.records.document import FileParity, ReportDocument, read_report
from exporters.report.records.schema import json_schema
from exporters.report.sections.markdown import to_markdown
from exporters.report.writer import write_report
from tests.exporters.report.unfolded import folded, table, tables


def pruning(**given: Any) -> Pruning:
    rounds = (
        PruningRound(
            round=1,
            parameters=125_000,
            before_cut=Quality(loss=0.0123, r2=0.812, pbm=0.8561),
            after_cut=Quality(loss=0.0456, r2=-0.21, pbm=0.1),
            after_recovery=Quality(loss=0.0131, r2=0.801, pbm=0.85, false_closures=0.027),
            recovery_steps=1500,
        ),
        PruningRound(
            round=2,
            parameters=83_000,
            before_cut=Quality(loss=0.0131, r2=0.801, pbm=0.85),
            after_cut=Quality(loss=0.09, r2=None, pbm=None),
            after_recovery=Quality(loss=0.015, r2=0.7901, pbm=0.8),
            recovery_steps=1500,
        ),
    )
    fields: dict[str, Any] = {
        "student": "tiny",
        "criterion": "taylor",
        "allocation": "sensitivity",
        "budget_of": "multiply_adds",
        "asked": 0.5,
        "removed": 0.5122,
        "layers": (
            PrunedLayer(name="first", channels_before=32, channels_after=32),
            PrunedLayer(name="conv1", channels_before=64, channels_after=40),
        ),
        "parameters_before": 171_610,
        "parameters_after": 83_000,
        "multiply_adds_before": 4_100_000,
        "multiply_adds_after": 2_000_000,
        "bytes_before": 177_400,
        "bytes_after": 88_700,
        "rounds": rounds,
    }
    return Pruning(**{**fields, **given})


def quantization(**given: Any) -> Quantization:
    everything = ScanRow(
        what="everything",
        choice="int8",
        mse_ratio=1.2345,
        quiet_mse_ratio=37.215,
        jitter_ratio=1.0,
        pbm_points=-2.25,
        false_points=0.3125,
        chosen=False,
    )
    first = ScanRow(
        what="first",
        choice="int8_weights",
        mse_ratio=1.0004,
        quiet_mse_ratio=0.999,
        jitter_ratio=1.05,
        pbm_points=None,
        chosen=True,
    )
    fields: dict[str, Any] = {
        "student": "tiny",
        "method": "qat",
        "observer": "histogram",
        "calibration_batches": 32,
        "seed": 0,
        "layers": {"first": "int8_weights", "conv1": "int8", "head1": "int8", "rig": "float"},
        "chosen_by": "auto",
        "gate": {
            "mse": KeptLimit(value=1.021, limit=1.05, held=True),
            "jitter": KeptLimit(value=1.12, limit=1.1, held=False),
            "pbm_loss": KeptLimit(value=0.004, limit=0.01, held=True),
            "quiet_mse": KeptLimit(value=None, limit=1.05, held=None),
        },
        "scan": (everything, first),
    }
    return Quantization(**{**fields, **given})


def parity(name: str, max_lsb: int | None) -> FileParity:
    compared = SetParity(
        name="silence",
        windows=1,
        status="passed",
        max_abs=1e-4,
        mse=1e-9,
        max_lsb=max_lsb,
        worst_control="jawOpen",
        worst_window=0,
        reason="",
    )
    result = ParityResult(
        student="tiny",
        precision=name,
        runtime={"runtime": "ONNX Runtime"},
        max_abs_limit=2e-3,
        max_lsb_limit=None if max_lsb is None else 1,
        sets=(compared,),
        status="passed",
    )
    return FileParity(file=f"models/tiny-{name}/model.onnx", result=result)


@pytest.fixture
def document(empty_report: ReportDocument) -> ReportDocument:
    """No tiers, no curves: pruning, int8 and their parity alone."""
    return replace(
        empty_report,
        parity=(parity("fp32", None), parity("int8", 1)),
        pruning=(pruning(),),
        quantization=(quantization(),),
    )


def test_what_is_written_is_read_back_and_obeys_the_schema(
    document: ReportDocument, tmp_path: Path
) -> None:
    files = write_report(document, tmp_path)
    assert read_report(files.json) == document
    data = json.loads(records.to_json(document))
    jsonschema.Draft202012Validator(json_schema()).validate(data)
    assert data["quantization"][0]["gate"]["mse"] == {"value": 1.021, "limit": 1.05, "held": True}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"removed": 0.6}, "0.6 of multiply_adds removed is not 4100000 to 2000000"),
        ({"asked": 1.0}, "must be shares below 1"),
        ({"bytes_after": 200_000}, "bytes cannot go from 177400 to 200000"),
        ({"rounds": ()}, "expected 1, 2"),
        ({"rounds": pruning().rounds[::-1]}, r"numbered \[2, 1\]"),
        ({"rounds": pruning().rounds[:1]}, "the last round leaves 125000 parameters, not 83000"),
    ],
)
def test_impossible_pruning_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"pruning of 'tiny' cannot be: .*{said}"):
        pruning(**change)


def test_impossible_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot go from 8 to 9 channels"):
        PrunedLayer(name="first", channels_before=8, channels_after=9)
    with pytest.raises(ValueError, match=r"between 0 and 1, found 85\.6"):
        Quality(loss=0.1, r2=None, pbm=85.6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": {}}, "names no layer"),
        ({"gate": {}}, "chosen by 'auto' with 0 limits"),
        ({"chosen_by": "recipe"}, "chosen by 'recipe' with 4 limits"),
    ],
)
def test_impossible_quantization_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        quantization(**change)


@pytest.mark.parametrize(
    ("value", "held"), [(1.06, True), (1.05, False), (None, True), (None, False), (1.0, None)]
)
def test_gate_holds_by_its_numbers_alone(value: float | None, held: bool | None) -> None:
    with pytest.raises(ValueError, match=r"against a limit of 1\.05"):
        KeptLimit(value=value, limit=1.05, held=held)


def test_nan_never_holds() -> None:
    with pytest.raises(ValueError, match="held is False, not True"):
        KeptLimit(value=float("nan"), limit=1.05, held=True)


def test_pruning_in_words(document: ReportDocument) -> None:
    lines = folded(to_markdown(document), "Pruning").splitlines()
    assert lines[0] == "tiny"
    assert "not of held-out speech" in " ".join(lines)
    said = "tiny: asked to lose 50.0 % of its multiply-adds, it lost 51.2 %."
    how = "Channels were chosen by taylor, spread over layers by sensitivity."
    assert f"{said} {how}" in lines
    captions = ("What left tiny", "Channels of tiny", "Rounds of tiny")
    assert [line for line in lines if line.startswith("**")] == [f"**{c}**" for c in captions]
    assert [line for line in lines if line.startswith("|")] == [
        "| Of | Before | After | Removed |",
        "|---|--:|--:|--:|",
        "| parameters | 172 k | 83 k | 51.6 % |",
        "| multiply-adds for one window | 4.1 M | 2.0 M | 51.2 % |",
        "| weights, were they stored as int8 | 177 kB | 89 kB | 50.0 % |",
        "| Layer | Before | After |",
        "|---|--:|--:|",
        "| `first` | 32 | 32 |",
        "| `conv1` | 64 | 40 |",
        "| Moment | Round | Parameters | Loss | R² to teacher | PBM | F |",
        "|---|--:|--:|--:|--:|--:|--:|",
        "| before the cut | 1 | 172 k | 0.0123 | 0.812 | 85.6 % | not run |",
        "| after the cut | 1 | 125 k | 0.0456 | -0.21 | 10.0 % | not run |",
        "| after 1,500 steps of recovery | 1 | 125 k | 0.0131 | 0.801 | 85.0 % | 2.7 % |",
        "| before the cut | 2 | 125 k | 0.0131 | 0.801 | 85.0 % | not run |",
        "| after the cut | 2 | 83 k | 0.09 | not run | not run | not run |",
        "| after 1,500 steps of recovery | 2 | 83 k | 0.015 | 0.79 | 80.0 % | not run |",
    ]


def test_int8_in_words(document: ReportDocument) -> None:
    lines = folded(to_markdown(document), "int8 and its sensitivity scan").splitlines()
    text = " ".join(lines)
    assert lines[0] == "tiny"
    assert "not of held-out speech" in text
    assert (
        "tiny: ranges found by histogram on 32 batches of training speech (seed 0), then trained on "
        "with rounding in place (QAT); the fewest layers were left in float with which the gate "
        "holds." in lines
    )
    assert "×: times the float student's. Closures: percentage points of /p b m/" in text
    assert [line for line in lines if line.startswith("|")] == [
        "| Layer | Computed as |",
        "|---|---|",
        "| `first` | int8 weights, computed in float |",
        "| `conv1` | int8 weights and activations |",
        "| `head1` | int8 weights and activations |",
        "| `rig` | float |",
        "| Gate | Measured | At most | Holds |",
        "|---|--:|--:|--:|",
        "| MSE, × float | 1.021 | 1.050 | yes |",
        "| jitter, × float | 1.120 | 1.100 | NO |",
        "| closures lost on /p b m/, points | 0.4 | 1.0 | yes |",
        "| MSE 30 dB quieter, × float | not run | 1.050 | not run |",
        "| Tried on | As | MSE, × | MSE 30 dB quieter, × | Jitter, × | Closures, points | F, points | Chosen |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
        "| `everything` | int8 weights and activations | 1.234 | 37.2 | 1.000 | -2.2 | +0.31 |  |",
        "| **`first`** | **int8 weights, computed in float** | 1.000 | 0.999 | 1.050 | not run | not run | yes |",
    ]


def test_what_the_recipe_chose_needs_no_gate_and_no_scan(document: ReportDocument) -> None:
    plain = quantization(method="ptq", chosen_by="recipe", gate={}, scan=())
    text = to_markdown(replace(document, quantization=(plain,)))
    section = folded(text, "int8 and its sensitivity scan")
    assert "and no training after that (PTQ); the recipe names the layers left in float." in section
    assert len(tables(section)) == 1, "its layers alone"
    assert "| Gate |" not in text
    assert "Tried on" not in text


def test_sections_appear_only_with_something_in_them(document: ReportDocument) -> None:
    pruned = to_markdown(replace(document, quantization=()))
    assert "<summary>Pruning: tiny</summary>" in pruned
    assert "int8 and its" not in pruned
    assert "set aside" in pruned
    integers = to_markdown(replace(document, pruning=()))
    assert "<summary>int8 and its sensitivity scan: tiny</summary>" in integers
    assert "Pruning" not in integers
    neither = to_markdown(replace(document, pruning=(), quantization=()))
    assert "set aside" not in neither, "neither has words without a table"


def test_codes_are_told_of_integer_files_only(document: ReportDocument) -> None:
    text = folded(to_markdown(document), "Parity, set by set")
    headers, _, *rows = table(text, "Does each file say what its source says?")
    codes = headers.index("Codes apart (LSB)")
    assert [(row[0], row[codes]) for row in rows] == [
        ("`models/tiny-fp32/model.onnx`", "–"),
        ("`models/tiny-int8/model.onnx`", "1"),
    ]
    assert "Codes are the integers of the last quantized tensor" in text
    plain = to_markdown(replace(document, parity=document.parity[:1]))
    assert "| `models/tiny-fp32/model.onnx` |" in plain
    assert "LSB" not in plain
    assert "Codes" not in plain


def test_every_table_is_a_table(document: ReportDocument) -> None:
    two = replace(
        document,
        pruning=(pruning(), pruning(student="nano")),
        quantization=(quantization(), quantization(student="nano | small")),
    )
    text = to_markdown(two)
    assert len(tables(folded(text, "Pruning"))) == 2 * 3
    assert len(tables(folded(text, "int8 and its sensitivity scan"))) == 2 * 3
    files, parity, provenance = 3, 1, 1
    assert len(tables(text)) == 1 + 2 * 3 + 2 * 3 + files + parity + provenance
    assert "**Layers of nano \\| small**" in text
    assert "None" not in text
