"""The report of pruning and int8: what it refuses, and how it reads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from exporters import records
from exporters.proof.parity import ParityResult, SetParity
from exporters.report import ReportDocument, read_report, write_report
from exporters.report.records.compression import (
    KeptLimit,
    PrunedLayer,
    Pruning,
    PruningRound,
    Quality,
    Quantization,
    ScanRow,
)
from exporters.report.records.document import FileParity
from exporters.report.records.schema import json_schema
from exporters.report.sections.markdown import to_markdown


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


def section(text: str, title: str) -> list[str]:
    """Lines of one second-level section."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0].splitlines()


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
    lines = section(to_markdown(document), "Pruning")
    assert "not of held-out speech" in " ".join(lines)
    assert "**tiny**: asked to lose 50.0 % of its multiply-adds, it lost 51.2 %." in lines
    assert [line for line in lines if line.startswith("|")] == [
        "| | Before | After | Removed |",
        "|---|--:|--:|--:|",
        "| parameters | 172 k | 83 k | 51.6 % |",
        "| multiply-adds for one window | 4.1 M | 2.0 M | 51.2 % |",
        "| weights, were they stored as int8 | 177 kB | 89 kB | 50.0 % |",
        "| Layer | Channels before | Channels after |",
        "|---|--:|--:|",
        "| first | 32 | 32 |",
        "| conv1 | 64 | 40 |",
        "| Round | Moment | Parameters | Loss | R² to teacher | PBM | F |",
        "|---|---|--:|--:|--:|--:|--:|",
        "| 1 | before the cut | 172 k | 0.0123 | 0.812 | 85.6 % | not run |",
        "| 1 | after the cut | 125 k | 0.0456 | -0.21 | 10.0 % | not run |",
        "| 1 | after 1,500 steps of recovery | 125 k | 0.0131 | 0.801 | 85.0 % | 2.7 % |",
        "| 2 | before the cut | 125 k | 0.0131 | 0.801 | 85.0 % | not run |",
        "| 2 | after the cut | 83 k | 0.09 | not run | not run | not run |",
        "| 2 | after 1,500 steps of recovery | 83 k | 0.015 | 0.79 | 80.0 % | not run |",
    ]


def test_int8_in_words(document: ReportDocument) -> None:
    lines = section(to_markdown(document), "int8")
    text = " ".join(lines)
    assert "not of held-out speech" in text
    assert "ranges found by histogram on 32 batches of training speech (seed 0), then" in text
    assert [line for line in lines if line.startswith("|")] == [
        "| Computed as | Layers |",
        "|---|---|",
        "| int8 weights and activations | conv1, head1 |",
        "| int8 weights, computed in float | first |",
        "| float | rig |",
        "| Gate | Measured | Limit | Holds |",
        "|---|--:|--:|---|",
        "| MSE, × float | 1.021 | at most 1.050 | yes |",
        "| jitter, × float | 1.120 | at most 1.100 | NO |",
        "| closures lost on /p b m/, points | 0.4 | at most 1.0 | yes |",
        "| MSE 30 dB quieter, × float | not run | at most 1.050 | not run |",
        "| Tried on | As | MSE, × | MSE 30 dB quieter, × | Jitter, × | Closures, points | F, points | Chosen |",
        "|---|---|--:|--:|--:|--:|--:|---|",
        "| everything | int8 weights and activations | 1.234 | 37.2 | 1.000 | -2.2 | +0.31 |  |",
        "| **first** | int8 weights, computed in float | 1.000 | 0.999 | 1.050 | not run | not run | yes |",
    ]


def test_what_the_recipe_chose_needs_no_gate_and_no_scan(document: ReportDocument) -> None:
    plain = quantization(method="ptq", chosen_by="recipe", gate={}, scan=())
    text = to_markdown(replace(document, quantization=(plain,)))
    lines = section(text, "int8")
    assert "The recipe names the layers left in float." in lines
    assert "and no training after that (PTQ)" in " ".join(lines)
    assert "| Gate |" not in text
    assert "Tried on" not in text


def test_sections_appear_only_with_something_in_them(document: ReportDocument) -> None:
    pruned = to_markdown(replace(document, quantization=()))
    assert "## Pruning" in pruned
    assert "## int8" not in pruned
    assert "## Pruning" not in to_markdown(replace(document, pruning=()))


def test_codes_are_told_of_integer_files_only(document: ReportDocument) -> None:
    lines = to_markdown(document).splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| `models/tiny-")]
    assert [row[5] for row in rows] == ["–", "1"]
    plain = to_markdown(replace(document, parity=document.parity[:1]))
    assert "LSB" not in plain


def test_every_table_is_a_table(document: ReportDocument) -> None:
    two = replace(
        document,
        pruning=(pruning(), pruning(student="nano")),
        quantization=(quantization(), quantization(student="nano | small")),
    )
    text = to_markdown(two)
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 1 + 2 * 3 + 2 * 3 + 3
    for block in blocks:
        widths = {line.replace("\\|", "").count("|") for line in block.splitlines()}
        assert len(widths) == 1, block
        assert all(line.startswith("|") and line.endswith("|") for line in block.splitlines())
    assert "None" not in text
