"""Sound that is not speech in a report: words, tables, a card's line, and reports from before it."""

import json
from dataclasses import replace

import pytest

from exporters import records
from exporters.report.page.cards import cards_of
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.records.not_speech import NotSpeech
from exporters.report.records.tiers import tiers_of
from exporters.report.sections.markdown import to_markdown
from exporters.report.sections.not_speech import (
    NOTE,
    sentence,
    share_text,
    sound_table,
    summary_table,
)
from exporters.report.sections.quality import quality_section
from tests.exporters.documents import document, file_row, not_speech, teacher_row
from tests.exporters.report.unfolded import folded, table


def with_teacher() -> tuple[Tier, Tier]:
    found = not_speech(0.1, 0.4)
    teacher = replace(teacher_row(), not_speech=replace(found, sounds=found.of_teacher))
    return teacher, file_row(elsewhere=found)


def test_the_tables_by_hand() -> None:
    teacher, file = with_teacher()
    headers, rows = summary_table([teacher, file, file_row()])
    assert len(headers) == 5
    assert rows == [
        ("demo teacher", "50 %", "100 %", "0.2", "not run"),
        ("student tiny, int8, onnx", "15 %", "60 %", "0.3", "25 %"),
    ]
    assert sound_table([file]) == (
        ("Tier", "silence", "noise", "hum"),
        [("student tiny, int8, onnx", "1.0 %", "10 %", "20 %")],
    )
    assert sound_table([teacher, file])[1][0][1:] == ("50 %", "not run", "not run")
    assert summary_table([file_row()])[1] == []


def test_what_came_out_as_no_number_is_not_run() -> None:
    found = not_speech(0.1, 0.4)
    noise = replace(found.sounds[1], moved=None, farthest=None, lips_changed=None)
    broken = replace(found, sounds=(found.sounds[0], noise, found.sounds[2]))
    (row,) = summary_table([file_row(elsewhere=broken)])[1]
    assert row[1:] == ("not run",) * 4
    assert sentence(broken) == "movement on noise and music: not run"


def test_a_sentence() -> None:
    found = not_speech(0.1, 0.4)
    said = "On noise and music the face moves 15 % as much as in speech"
    assert sentence(found) == f"{said}; the teacher: 50 %."
    assert sentence(replace(found, of_teacher=())) == f"{said}."


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "not run"), (0.0, "0.0 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (12.3, "1,230 %")],
)
def test_shares(share: float | None, text: str) -> None:
    assert share_text(share) == text


def test_markdown_and_page_have_it() -> None:
    report = document(*with_teacher())
    figures = folded(to_markdown(report), "Quality: all figures")
    assert NOTE in figures.splitlines()
    whole = table(figures, "Not speech")
    assert whole[0][-1] == "lips not as at rest"
    assert whole[2:] == [
        ["demo teacher", "50 %", "100 %", "0.2", "not run"],
        ["student tiny, int8, onnx", "15 %", "60 %", "0.3", "25 %"],
    ]
    sounds = table(figures, "Not speech: movement on each sound, of the teacher's in speech")
    assert sounds[0] == ["Tier", "noise", "silence", "hum"]
    assert sounds[-1] == ["student tiny, int8, onnx", "10 %", "1.0 %", "20 %"]
    captions = [table.caption for table in quality_section(report).tables]
    assert captions[-2:] == [
        "Not speech",
        "Not speech: movement on each sound, of the teacher's in speech",
    ]
    (card,) = cards_of(report, tiers_of(report))
    meter = card.meters[-1]
    assert " ".join((meter.before, meter.value, meter.after)) == (
        "on noise and music it moves 15 % as much as in speech; the teacher 50 %"
    )
    assert meter.share == pytest.approx(0.15)


def test_a_report_from_before_it_was_measured_is_read() -> None:
    report = document(teacher_row(), file_row())
    text = to_markdown(report)
    assert "Not speech" not in text
    (card,) = cards_of(report, tiers_of(report))
    assert not any("noise and music" in meter.before + meter.after for meter in card.meters)
    fields = json.loads(records.to_json(report))
    for tier in fields["tiers"]:
        del tier["not_speech"]
    assert records.from_json(ReportDocument, json.dumps(fields)) == report


def test_it_is_written_and_read_exactly() -> None:
    found = not_speech(0.123, 0.4)
    assert records.from_json(NotSpeech, records.to_json(found)) == found
