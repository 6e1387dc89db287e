"""What the page says, without a browser: advice, cards, figures, packing, and how text is escaped."""

import base64
import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from exporters.measuring.figures import Arena
from exporters.mesh import MeshFacts
from exporters.report.decide.advice import ALONE, NOT_JUDGED, advise
from exporters.report.page import html
from exporters.report.page.cards import cards_of, first_chosen
from exporters.report.page.html import to_page
from exporters.report.page.packing import fitting, pack_clip
from exporters.report.page.view import view_of
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.records.kinds import KindFigures
from exporters.report.records.tiers import tiers_of
from exporters.report.sections.kinds import kinds_table, languages_table
from exporters.report.sections.proofs import verdict_of
from exporters.report.sections.tables import Table
from tests.exporters.report.page.documents import (
    ROWS,
    clip,
    clips_of,
    document,
    gate,
    model_row,
    sounds,
    teacher_row,
)

HOSTILE = '</script><img src=x onerror="window.hacked = true"><script>window.hacked = true</script>'


def said(*rows: Tier) -> dict[str, str]:
    """What is advised of the tiers of some rows."""
    views = tiers_of(document(tiers=rows))
    return {name: advice.sentence for name, advice in advise(views, rows[0]).items()}


def embedded(page: str) -> dict[str, object]:
    """The figures that the page's scripts are given."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


def test_each_tier_is_for_somebody_or_is_beaten() -> None:
    assert said(*ROWS) == {
        "near-fp32": "Choose this if likeness comes first and closed lips matter: nothing is nearer "
        "to the teacher and it closes them most often on p, b and m at F = 1 %.",
        "tiny-int8": "Choose this if every kilobyte counts: it is the smallest.",
        "quick-fp32": "Choose this if the face must answer soon: nothing waits less.",
        "stale-fp16": "quick, fp32 beats it in everything: it is smaller and nearer to the teacher, "
        "and waits less.",
    }


def test_of_several_that_wait_least_each_is_told_apart() -> None:
    advice = said(
        teacher_row(),
        model_row("far", "fp32", 900, 80.0, 0.001),
        model_row("a", "fp32", 800, 32.0, 0.002),
        model_row("b", "fp32", 700, 32.0, 0.003),
        model_row("c", "fp32", 600, 32.0, 0.004),
        model_row("d", "fp32", 500, 80.0, 0.0045),
        model_row("e", "fp32", 650, 80.0, 0.0025),
    )
    assert "of those that wait only 32 ms it is the nearest to the teacher" in advice["a-fp32"]
    assert advice["b-fp32"] == (
        "Choose this if 700 B is what you can spend and you can wait no longer than 32 ms: nothing "
        "that fits is nearer to the teacher."
    )
    assert "of those that wait only 32 ms it is the smallest" in advice["c-fp32"]
    assert "it is the smallest." in advice["d-fp32"]


def test_a_budget_names_only_what_it_must() -> None:
    advice = said(
        teacher_row(),
        model_row("big", "fp32", 900, 80.0, 0.001),
        model_row("middle", "fp32", 500, 80.0, 0.002),
        model_row("small", "fp32", 100, 80.0, 0.003),
    )
    assert advice["middle-fp32"] == (
        "Choose this if 500 B is what you can spend: nothing that fits is nearer to the teacher."
    )


def test_a_tier_beaten_in_part_is_told_so() -> None:
    advice = said(
        teacher_row(),
        model_row("a", "fp32", 500, 80.0, 0.001),
        model_row("b", "fp32", 600, 80.0, 0.001),
    )
    assert advice["b-fp32"] == (
        "a, fp32 beats it: it is smaller and as near to the teacher, and waits no longer."
    )


def test_equal_tiers_beat_each_other_in_nothing() -> None:
    twins = [model_row(name, "fp32", 500, 80.0, 0.001) for name in ("a", "b")]
    assert all("nothing is nearer" in text for text in said(teacher_row(), *twins).values())


def test_a_tier_by_itself_and_one_not_judged() -> None:
    alone = model_row("a", "fp32", 500, 80.0, 0.001)
    assert said(teacher_row(), alone) == {"a-fp32": ALONE}
    unknown = model_row("b", "fp32", 400, None, 0.002)
    assert said(teacher_row(), alone, unknown)["b-fp32"] == NOT_JUDGED


def test_a_card_says_what_a_tier_costs_and_gives() -> None:
    views = tiers_of(document())
    near, tiny = cards_of(document(), views)[:2]
    assert (near.title, near.kind, near.size, near.wait) == (
        "near, fp32",
        "full precision",
        "1.0 MB",
        "waits 80 ms",
    )
    assert near.gain == "10 × smaller, 8.0 × faster than the teacher"
    meters = [" ".join(filter(None, (m.before, m.value, m.after))) for m in near.meters]
    assert meters == [
        "likeness to the teacher: R² 0.90",
        "lips close 94 % as often as the teacher's, at F = 1 %",
        "as it is they close on 85 % of p, b and m, and wrongly in 3.0 % of other speech (F)",
        "worst kind of voice, formant voices never heard: 60 % of p, b and m at F = 1 %",
    ]
    assert (tiny.provenance, near.provenance) == ("trained in this run", "reference weights")


def test_the_worst_kind_is_that_of_the_closures_or_else_of_the_copy() -> None:
    row = model_row("a", "fp32", 500, 80.0, 0.001)

    def said_of(kinds: tuple[KindFigures, ...]) -> list[str]:
        tiers = (teacher_row(), replace(row, by_kind=kinds))
        (card,) = cards_of(document(tiers=tiers), tiers_of(document(tiers=tiers)))
        return [f"{m.before} {m.value}" for m in card.meters if "worst" in m.before]

    assert said_of(row.by_kind) == ["worst kind of voice, formant voices never heard: 55 %"]
    unaligned = tuple(replace(one, against_truth={}) for one in row.by_kind)
    assert said_of(unaligned) == ["worst kind of voice, formant voices never heard: R² 0.7"]
    assert said_of(row.by_kind[:3]) == [], "one kind alone is no choice"
    assert said_of(()) == []


def test_kinds_of_voices_are_a_table_with_the_worst_of_each_tier() -> None:
    table = kinds_table(document())
    assert table is not None
    near = [place for place, cells in enumerate(table.rows) if cells[0] == "near, fp32"]
    assert [table.rows[place] for place in near] == [
        (
            *("near, fp32", "known real speakers", "0.900", "80.0 % (75.0\N{EN DASH}85.0)"),
            *("85.0 % (80.0\N{EN DASH}90.0)", "3.0 %", "0.75", "100", "60", "4"),
        ),
        (
            *("near, fp32", "formant voices never heard", "0.700", "60.0 % (55.0\N{EN DASH}65.0)"),
            *("65.0 % (60.0\N{EN DASH}70.0)", "3.0 %", "0.75", "100", "24", "3"),
        ),
    ]
    assert [place in table.strong for place in near] == [False, True]
    assert table.rows[0][:3] == ("the demo teacher", "known real speakers", "–")
    languages = {cells[1] for cells in languages_table(document()).rows}
    assert languages == {
        *("known real speakers, en", "known real speakers, it", "formant voices never heard, de"),
    }
    assert kinds_table(document(tiers=tuple(replace(row, by_kind=()) for row in ROWS))) is None


def test_the_plot_has_f_beside_every_share_of_closed_lips() -> None:
    data = view_of(document(), tiers_of(document()), None)
    assert [one["key"] for one in data["qualities"]][:4] == [
        *("r2", "pbm_at_1pct", "pbm", "closed_outside"),
    ]
    figures = data["tiers"][0]["figures"]
    assert (figures["pbm"]["text"], figures["pbm_at_1pct"]["text"]) == ("85.0 %, F 3.0 %", "80.0 %")


def test_the_page_begins_with_the_nearest_and_the_smallest() -> None:
    views = tiers_of(document())
    assert [views[place].name for place in first_chosen(views)] == ["near-fp32", "tiny-int8"]


def test_what_the_run_made_is_in_view_though_something_beats_it() -> None:
    wider = model_row("tiny", "fp32", 700_000, 80.0, 0.0025)
    views = tiers_of(document(tiers=(*ROWS, wider)))
    cards = {card.name: card for card in cards_of(document(tiers=(*ROWS, wider)), views)}
    assert (cards["tiny-fp32"].beaten, cards["tiny-fp32"].folded) == (True, False)
    assert (cards["stale-fp16"].beaten, cards["stale-fp16"].folded) == (True, True)
    begins = [views[place].name for place in first_chosen(views)]
    assert begins == ["near-fp32", "tiny-int8"], "of its own the nearest"


def test_a_slower_tier_is_not_called_faster() -> None:
    row = ROWS[1]
    assert row.cost
    slow = replace(row, cost=replace(row.cost, faster=0.5, faster_low=0.4, faster_high=0.6))
    made = document(tiers=(teacher_row(), slow))
    assert cards_of(made, tiers_of(made))[0].gain == "10 × smaller, 2.0 × slower than the teacher"


@pytest.mark.parametrize("faster", [0.976, 1.0, 1.04])
def test_a_tier_that_takes_as_long_is_as_fast(faster: float) -> None:
    row = ROWS[1]
    assert row.cost
    made = document(tiers=(teacher_row(), replace(row, cost=replace(row.cost, faster=faster))))
    assert cards_of(made, tiers_of(made))[0].gain == "10 × smaller, as fast as the teacher"


def test_why_there_is_no_arena_is_said_once() -> None:
    lacking = Arena(bytes=None, detail="not run: no operation LOG")
    rows = [
        replace(row, benchmark=replace(row.benchmark, arena=lacking))
        for row in ROWS
        if row.made and row.benchmark
    ]
    page = to_page(document(tiers=(teacher_row(), *rows)), None, {})
    assert page.count("no operation LOG") == 1


def test_what_was_not_measured_is_not_run() -> None:
    bare = replace(
        model_row("a", "fp32", 500, None, None, closed=None), benchmark=None, cost=None, bytes=None
    )
    made = document(tiers=(teacher_row(), bare))
    card = cards_of(made, tiers_of(made))[0]
    assert (card.size, card.wait) == ("not run", "what it waits: not run")
    assert card.gain == "size and speed beside the teacher: not run"
    assert [meter.value for meter in card.meters] == ["not run", "not run"]
    assert "not run" in to_page(made, None, {})


def test_a_verdict_counts_what_broke_and_names_it() -> None:
    gates = (gate("one", 0.9, 0.5), gate("two", 0.1, 0.5), gate("three", None, 0.5))
    verdict = verdict_of(gates)
    assert verdict.text == "Of 3 gates 1 failed, 1 not run, 1 passed"
    assert verdict.broken == ("two: 0.1, expected >= 0.5 (0.4 short)",)
    assert verdict_of(gates[:1]).text == "The gate passed"
    assert verdict_of(()).status == "not run"


def test_curves_survive_their_packing() -> None:
    names = ["near-fp32", "tiny-int8"]
    original = clip(1, ("near-fp32", "left-out"))
    packed = pack_clip(original, names, b"sound")
    assert list(packed["tiers"]) == ["0"]
    assert base64.b64decode(packed["audio"]) == b"sound"
    codes = np.frombuffer(base64.b64decode(packed["teacher"]), "<i2").reshape(4, -1)
    for row, control in enumerate(packed["controls"]):
        found = codes[row] * packed["steps"][row]
        np.testing.assert_allclose(found, original.teacher[control], atol=2e-5)


def test_clips_that_do_not_fit_are_left_out_from_the_end_and_named() -> None:
    heavy = {name: bytes(range(256)) * 9_000 for name in sounds()}
    page = to_page(document(), clips_of(), heavy)
    assert len(page.encode()) <= html.LIMIT_BYTES
    assert page.count('class="clip">') == 1
    assert "1 clip was left out" in page
    assert "en/clip-2" in page
    assert "left out" not in to_page(document(), clips_of(), sounds())


def test_no_clip_may_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "LIMIT_BYTES", 1000)
    page = to_page(document(), clips_of(), sounds())
    assert "2 clips were left out" in page
    assert "they would make the page too large" in page
    assert fitting([10, 10, 1], 15) == 1


def test_the_page_names_nothing_to_fetch_but_in_texts() -> None:
    page = to_page(document(), clips_of(), sounds())
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert "sourceMappingURL" not in page
    assert "default-src 'none'" in unescape(page)


def test_text_from_outside_stays_text() -> None:
    tiers = (teacher_row(), model_row(HOSTILE, "fp32", 500, 80.0, 0.001))
    shown = clips_of(tiers)
    first = replace(shown.clips[0], text=HOSTILE, clip=HOSTILE)
    made = document(name=HOSTILE, gates=(gate(HOSTILE, 0.1, 0.5),), tiers=tiers)
    page = to_page(made, replace(shown, clips=(first,)), {})
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 4


def test_the_same_report_gives_the_same_page() -> None:
    assert to_page(document(), clips_of(), sounds()) == to_page(document(), clips_of(), sounds())


def _empty() -> ReportDocument:
    names = ("gates", "parity", "checks", "chain", "training", "pruning", "quantization", "clips")
    return document(tiers=(teacher_row(),), commits={}, **dict.fromkeys(names, ()))


def test_a_run_without_students_gates_or_clips_is_said_to_be_so() -> None:
    page = to_page(_empty(), None, {})
    assert "no tiers to choose from" in page
    assert "no clips to show" in page
    assert "no verdict" in page


def test_a_report_without_a_row_for_its_teacher_is_shown() -> None:
    page = to_page(document(tiers=ROWS[1:]), clips_of(), sounds())
    assert "lips close on" in page


def test_the_rig_decides_what_is_drawn() -> None:
    made, shown = document(), clips_of()
    views = tiers_of(made)
    assert view_of(made, views, shown)["rig"]["kind"] == "arkit"
    other = {"jawOpen": "gap", "mouthPucker": "oo"}
    renamed = replace(
        shown.clips[0],
        teacher={other[n]: v for n, v in shown.clips[0].teacher.items() if n in other},
        tiers=(),
        shown=("gap",),
    )
    rig = made.teacher.rig
    assert rig
    unlike = replace(shown, clips=(renamed,))
    known = replace(made, teacher=replace(made.teacher, rig=replace(rig, aperture={"gap": 1.0})))
    assert view_of(known, views, unlike)["rig"]["kind"] == "aperture"
    unknown = replace(made, teacher=replace(made.teacher, rig=None))
    assert view_of(unknown, views, unlike)["rig"]["kind"] == "bars"


def test_a_mesh_teacher_is_judged_by_its_vertices() -> None:
    facts = MeshFacts(
        key="k",
        vertices=5000,
        components=16,
        variance=0.98,
        scale=1.0,
        fitted_clips=9,
        fitted_minutes=3.0,
        heldout_clips=2,
        heldout_minutes=1.0,
        residual=0.01,
        lip_residual=None,
    )
    row = model_row("a", "fp32", 500, 80.0, 0.001, closed=None)
    measured = {**row.against_teacher, "vertex_error": 0.25, "lip_vertex_error": 0.5}
    made = document(tiers=(teacher_row(), replace(row, against_teacher=measured)))
    made = replace(made, teacher=replace(made.teacher, mesh=facts, rig=None))
    views = tiers_of(made)
    assert cards_of(made, views)[0].meters[1].value == "0.5"
    assert [item["key"] for item in view_of(made, views, None)["qualities"]][-1] == "vertex_error"
    assert "5,000 vertices as 16 PCA coefficients" in to_page(made, None, {})


def test_many_tiers_fit_on_a_page() -> None:
    rows = [model_row(f"s{i}", "fp32", 1000 - i, 80.0, 0.001 + i * 1e-4) for i in range(15)]
    tiers = (teacher_row(), *rows)
    page = to_page(document(tiers=tiers), clips_of(tiers), sounds())
    data = embedded(page)
    assert isinstance(data["tiers"], list)
    assert len(data["tiers"]) == page.count('class="card"') == 15


def test_engineers_find_the_files_and_the_note_on_the_arena() -> None:
    page = unescape(to_page(document(), None, {}))
    for wanted in (
        "File + arena stands beside the paper's 3.4 MB",
        "so it is not the same measure",
        "214 kB",  # 110 kB of file and 104 kB of arena
        "1.000 (0.900–1.100)",
        "closure F1",
        "Sensitivity scan of tiny",
        "Waits for audio (ms)",
        "c0ffee",
    ):
        assert wanted in page


def test_a_row_that_does_not_fit_its_headers_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 columns, and a row of 1"):
        Table(caption="t", headers=("a", "b"), rows=(("x",),))
