"""Kinds of voices from a recipe to its report, and old reports beside new ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

Cli = Callable[..., Any]
KINDS = (
    "speech.kinds={known real speakers: ['en/*'], formant voices never heard: ['espeak/*'], "
    "nobody: ['kokoro/*']}"
)
# In each second: silence, /s a p a f/, so that there is speech outside of /p b m/.
PHONES = (("S", 0.1, 0.2), ("AA", 0.2, 0.4), ("P", 0.4, 0.5), ("AA", 0.5, 0.7), ("F", 0.7, 0.9))


def speak(folder: Path) -> None:
    """Held-out speech of four voices, five seconds each, aligned but for one of them."""
    shutil.rmtree(folder)
    aligned = {}
    for i, name in enumerate(("en/a/1", "en/b/2", "espeak/it/3", "other/4")):
        noise = np.random.default_rng(i).uniform(-0.5, 0.5, 80_000)
        swell = np.sin(2 * np.pi * np.arange(80_000) / 16_000) ** 2
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, (noise * swell).astype(np.float32), 16_000)
        aligned[name] = {
            "text": "sapaf",
            "phones": [(label, k + a, k + b) for k in range(5) for label, a, b in PHONES],
        }
    aligned["en/b/2"]["voice"] = "somebody"
    del aligned["other/4"]
    (folder / "alignments.json").write_text(json.dumps(aligned))


@pytest.fixture(scope="module")
def told(workshop: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose recipe names kinds of voices."""
    own = shutil.copytree(workshop, tmp_path_factory.mktemp("kinds") / "own")
    speak(own / "speech" / "heldout")
    sets = ("--set", KINDS, "--set", "gates.min_pbm=1.0", "--set", "gates.max_false_closures=0.0")
    ended = cli("compress", own / "recipe.yaml", "--out", own / "run", *sets)
    assert ended.code == 1, ended.err  # nothing closes its lips on all and on nothing else
    assert "PBM accuracy" in ended.err or "false closures" in ended.err
    assert "PBM at F = 1 %" in ended.out
    return own / "run"


def test_every_row_of_the_report_tells_the_kinds(told: Path) -> None:
    rows = json.loads((told / "report" / "report.json").read_text())["tiers"]
    assert {row["kind"] for row in rows} == {"teacher", "student", "baseline"}
    for row in rows:
        assert [(k["kind"], k["language"], k["clips"], k["voices"]) for k in row["by_kind"]] == [
            ("known real speakers", None, 2, 2),
            ("known real speakers", "en", 2, 2),
            ("formant voices never heard", None, 1, 1),
            ("formant voices never heard", "it", 1, 1),
            ("other speech", None, 1, 1),
        ]
        real, _, formant, _, other = row["by_kind"]
        assert real["against_truth"]["pbm"]["n"] == 2 * formant["against_truth"]["pbm"]["n"] == 10
        for share in ("pbm_at_1pct", "closed_outside"):
            assert 0 <= real["against_truth"][share]["value"] <= 1
        assert real["against_truth"]["closed_outside"]["n"] > 100
        assert set(other["against_truth"].values()) == {None}, "nobody aligned it"
        assert other["against_teacher"]["mse"] is not None
        truth = row["against_truth"]
        assert truth["pbm"]["n"] == truth["pbm_at_1pct"]["n"] == 15
        assert sum(row["by_clip"]["outside"]) == truth["closed_outside"]["n"]


def test_the_page_and_the_markdown_show_kinds_and_f(told: Path) -> None:
    page = (told / "report" / "report.html").read_text()
    assert "Tiers by kind of voice" in page
    assert "worst kind of voice," in page
    text = (told / "report" / "report.md").read_text()
    shown = [line for line in text.splitlines() if "formant voices never heard" in line]
    assert any(line.startswith("| small, fp32 |") for line in shown)
    assert "| PBM at F = 1 % | PBM with F |" in text
    card = (told / "models" / "small-fp32" / "README.md").read_text()
    assert "lips closed on other speech (F)" in card
    assert "at F = 1 %" in card


def test_other_kinds_judge_again_and_make_nothing_again(told: Path, cli: Cli) -> None:
    model = told / "models" / "small-fp32" / "model.onnx"
    before = model.stat().st_mtime_ns
    ended = cli("compress", told.parent / "recipe.yaml", "--out", told, "--set", "speech.kinds={}")
    assert ended.code == 0, ended.err
    assert model.stat().st_mtime_ns == before
    rows = json.loads((told / "report" / "report.json").read_text())["tiers"]
    names = {kind["kind"] for row in rows for kind in row["by_kind"]}
    assert names == {"held-out speech"}
    assert "By kind of voice\n" not in (told / "report" / "report.md").read_text()


def test_a_report_from_before_all_this_is_compared_and_chosen_from(
    told: Path, cli: Cli, tmp_path: Path
) -> None:
    report = json.loads((told / "report" / "report.json").read_text())
    for row in report["tiers"]:
        del row["by_kind"]
        for name in ("sealed_at_1pct", "outside", "closed_outside"):
            row["by_clip"].pop(name)
        for name in ("guesses", "right", "events", "recalled"):
            row["by_clip"].pop(f"phone_{name}")
        for name in ("pbm_at_1pct", "closed_outside", "phone_precision", "phone_recall"):
            row["against_truth"].pop(name, None)
        row["against_truth"].pop("phone_f1", None)
    for gate in report["gates"]:
        gate.pop("beside")
    old = tmp_path / "report.json"
    old.write_text(json.dumps(report))
    ended = cli("compare", old, told, "--json")
    assert ended.code == 0, ended.err
    changes = json.loads(ended.out)["changes"]
    student = {c["metric"]: c for c in changes if c["tier"] == "small-fp32"}
    assert student["pbm"]["verdict"] == "same"
    assert student["pbm"]["beside"].startswith("with F not run → ")
    for name in ("pbm_at_1pct", "false_closures", "phone_f1"):
        assert (student[name]["verdict"], student[name]["old"]) == ("now measured", None)
    chosen = cli("choose", old, "--by", "closures")
    assert chosen.code == 0, chosen.err
    assert "PBM at F = 1 % not run" in chosen.out
    new = cli("choose", told, "--by", "closures", "--max-false-closures", 1)
    assert " at F = 1 %, PBM " in new.out
    without = cli("choose", old, "--max-false-closures", 1, "--min-pbm-at-1pct", 0)
    without.failed(1, "false closures (F): not measured", "PBM accuracy at F = 1 %: not measured")
