"""The page as a reader has it: opened from a file in a real browser, with no network."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exporters.report.page.html import to_page
from tests.exporters.report.page.conftest import Open, Visit
from tests.exporters.report.page.documents import (
    FRAMES,
    RATE_HZ,
    clips_of,
    document,
    gate,
    model_row,
    sounds,
    teacher_row,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.slow

# What is drawn inside of an open mouth, and nowhere else.
INSIDE = [0x35, 0x15, 0x1A]
COUNT_INSIDE = """([who, colour]) => {
  const canvas = document.querySelector(`canvas[data-who="${who}"]`);
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (colour.every((value, channel) => Math.abs(data[i + channel] - value) < 3)) count += 1;
  }
  return count;
}"""
SEEK = """(time) => {
  const range = document.getElementById("seek");
  range.value = time;
  range.dispatchEvent(new Event("input"));
}"""
LABELS = "() => Chart.getChart(document.querySelector('#panels canvas')).data.datasets.map((d) => d.label)"
OVERFLOW = "() => document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def html() -> str:
    """The page of the made-up report."""
    return to_page(document(), clips_of(), sounds())


def card(visit: Visit, title: str) -> "Locator":
    """The card of a tier."""
    return visit.page.locator(".card", has=visit.page.get_by_text(title, exact=True))


def pressed(visit: Visit) -> list[str]:
    """Titles of the cards that are chosen."""
    return [
        text.strip()
        for text in visit.page.locator('.card[aria-pressed="true"] .name').all_text_contents()
    ]


def faces(visit: Visit) -> list[str]:
    """Whose faces are shown."""
    return visit.page.locator("#faces .who > span").all_text_contents()


def test_it_opens_offline_without_a_word_to_the_console(visit: Open, html: str) -> None:
    opened = visit(html)
    assert opened.page.title() == "made-up: which tier?"
    assert pressed(opened) == ["near, fp32", "tiny, int8"]
    assert faces(opened) == ["teacher", "near, fp32", "tiny, int8"]
    assert opened.eval(LABELS) == ["near, fp32", "tiny, int8", "teacher", "closed below"]


def test_choosing_a_card_changes_faces_curves_and_bars(visit: Open, html: str) -> None:
    opened = visit(html)
    card(opened, "quick, fp32").click()
    assert faces(opened) == ["teacher", "near, fp32", "tiny, int8", "quick, fp32"]
    assert opened.eval(LABELS)[:3] == ["near, fp32", "tiny, int8", "quick, fp32"]
    bars = "() => Chart.getChart('bars').data.datasets.map((d) => [d.label, d.data.length])"
    assert opened.eval(bars) == [["near, fp32", 2], ["tiny, int8", 2], ["quick, fp32", 2]]
    series = "(i) => Chart.getChart(document.querySelector('#panels canvas')).data.datasets[i].data.map((p) => p.y)"
    first, second = opened.eval(series, 0), opened.eval(series, 1)
    assert len(first) == FRAMES
    assert first != second
    card(opened, "near, fp32").click()
    assert faces(opened) == ["teacher", "tiny, int8", "quick, fp32"]


def test_a_fourth_tier_takes_the_place_of_the_first(visit: Open, html: str) -> None:
    opened = visit(html)
    card(opened, "quick, fp32").click()
    opened.page.locator(".beaten summary").click()
    card(opened, "stale, fp16").click()
    assert sorted(pressed(opened)) == ["quick, fp32", "stale, fp16", "tiny, int8"]
    assert "takes the place of near, fp32" in (opened.page.locator("#said").text_content() or "")


# Whether the chart is as large as the room that it has: it may be drawn before the page is laid out.
FILLS = """() => {
  const chart = Chart.getChart("plot"), box = chart.canvas.parentNode, style = getComputedStyle(box);
  const wide = box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const high = box.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  return Math.abs(chart.width - wide) < 1 && Math.abs(chart.height - high) < 1;
}"""
# Where a tier's point is in it.
POINT = """(tier) => {
  const chart = Chart.getChart("plot");
  const index = chart.data.datasets[0].data.findIndex((p) => p.tier === tier);
  const { x, y } = chart.getDatasetMeta(0).data[index];
  return { x, y };
}"""


def test_a_point_and_a_row_choose_too(visit: Open, html: str) -> None:
    opened = visit(html)
    opened.page.wait_for_function(FILLS)
    opened.page.locator("#plot").click(position=opened.eval(POINT, 2))
    row = opened.page.locator("#list button[aria-pressed=true]", has_text="quick, fp32")
    row.wait_for()
    assert "quick, fp32" in pressed(opened)
    row = opened.page.locator("#list button", has_text="quick, fp32")
    assert row.get_attribute("aria-pressed") == "true"
    row.focus()
    opened.page.keyboard.press("Enter")
    assert "quick, fp32" not in pressed(opened)


def test_another_quality_is_plotted(visit: Open, html: str) -> None:
    opened = visit(html)
    opened.page.locator("#quality").select_option("pbm")
    values = opened.eval("() => Chart.getChart('plot').data.datasets[0].data.map((p) => p.y)")
    assert max(values) == pytest.approx(85.0)
    # The baseline closes the lips in 30 %, and leaves the tiers their room.
    assert opened.eval("() => Chart.getChart('plot').scales.y.min") > 60
    assert opened.page.locator("#list thead").text_content() == "TierSizeWaitsclosed, F"


@pytest.mark.parametrize("width", [1280, 420])
def test_kinds_of_voices_are_in_view_with_the_worst_in_bold(
    visit: Open, html: str, width: int
) -> None:
    opened = visit(html, width=width)
    table = opened.page.locator("#kinds table")
    assert table.is_visible()
    rows = table.locator("tbody tr")
    assert rows.count() == 2 * 6, "the teacher, four tiers and the baseline"
    bold = "(row) => getComputedStyle(row.cells[0]).fontWeight"
    worst = rows.filter(has_text="formant voices never heard").first
    assert int(worst.evaluate(bold)) > 600 > int(rows.first.evaluate(bold))
    assert rows.nth(2).locator("td").all_text_contents()[1:5] == [
        *("0.900", "80.0 % (75.0–85.0)", "85.0 % (80.0–90.0)", "3.0 %"),
    ]
    words = card(opened, "near, fp32").text_content() or ""
    assert "wrongly in 3.0 % of other speech (F)" in " ".join(words.split())
    assert "worst kind of voice, formant voices never heard: 60 %" in " ".join(words.split())
    assert opened.eval(OVERFLOW) <= 0
    opened.page.get_by_role("link", name="Kinds of voices").click()
    assert opened.page.locator("#kinds-title").is_visible()


def test_the_lips_touch_exactly_where_the_rig_says(visit: Open, html: str) -> None:
    opened = visit(html)
    apart = opened.eval(
        "() => Chart.getChart(document.querySelector('#panels canvas')).data.datasets[2].data.map((p) => p.y)"
    )
    shut = opened.eval("() => JSON.parse(document.getElementById('data').textContent).rig.closed")
    seen = set()
    for frame in range(0, FRAMES, 3):
        opened.eval(SEEK, frame / RATE_HZ)
        open_pixels = opened.eval(COUNT_INSIDE, ["teacher", INSIDE])
        assert (open_pixels > 0) == (apart[frame] >= shut), f"frame {frame}: {apart[frame]}"
        seen.add(open_pixels > 0)
    assert seen == {True, False}


def test_each_face_follows_its_own_curves(visit: Open, html: str) -> None:
    opened = visit(html)
    opened.eval(SEEK, 1.3)
    teacher, near, tiny = (opened.eval(COUNT_INSIDE, [who, INSIDE]) for who in ("teacher", 0, 1))
    assert teacher > near > tiny > 0


def test_sound_and_faces_run_together(visit: Open, html: str) -> None:
    """In a loop, so that it does not end before it is looked at."""
    opened = visit(html)
    opened.page.get_by_text("Loop").click()
    assert opened.eval("() => document.getElementById('audio').loop")
    opened.page.get_by_role("button", name="Play", exact=True).click()
    where = "Number(document.getElementById('seek').value)"
    sound = "document.getElementById('audio').currentTime"
    opened.page.wait_for_function(f"() => {sound} > 0.3 && {where} > 0.2")
    opened.page.get_by_role("button", name="Pause", exact=True).click()
    assert opened.eval("() => document.getElementById('audio').paused")
    opened.page.wait_for_function(f"() => Math.abs({sound} - {where}) < 0.1")
    opened.page.get_by_text("½×").click()
    assert opened.eval("() => document.getElementById('audio').playbackRate") == 0.5


def test_a_sound_that_ends_stops_the_player(visit: Open, html: str) -> None:
    opened = visit(html)
    opened.eval(SEEK, 1.8)
    opened.page.get_by_role("button", name="Play", exact=True).click()
    opened.page.wait_for_function("() => document.getElementById('audio').ended")
    opened.page.get_by_role("button", name="Play", exact=True).wait_for()


def test_without_sound_the_faces_move_all_the_same(visit: Open) -> None:
    opened = visit(to_page(document(), clips_of(), {}))
    assert "no sound here" in (opened.page.locator("#sound").text_content() or "")
    opened.page.get_by_role("button", name="Play", exact=True).click()
    opened.page.wait_for_function("() => Number(document.getElementById('seek').value) > 0.3")
    opened.page.get_by_role("button", name="Play", exact=True).wait_for()  # it ends by itself


def test_a_sound_that_cannot_be_played_is_said_to_be_so(visit: Open) -> None:
    broken = dict.fromkeys(sounds(), b"no sound at all")
    opened = visit(to_page(document(), clips_of(), broken))
    opened.page.get_by_text("This browser cannot play the sound").wait_for()


# Where the sound is sent to, and whether it has begun: it does not stay there.
NOTE = """() => {
  const audio = document.getElementById("audio");
  const { get, set } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "currentTime");
  Object.defineProperty(audio, "currentTime", {
    get: () => get.call(audio),
    set: (time) => { window.sought = time; set.call(audio, time); },
  });
  audio.addEventListener("playing", () => { window.played = true; });
}"""


def test_the_worst_moment_is_a_click_away(visit: Open, html: str) -> None:
    opened = visit(html)
    opened.page.get_by_text("Worst moments in slow motion").click()  # off
    opened.eval(NOTE)
    opened.page.get_by_role("button", name="See its worst moment").last.click()
    # 0.3 s before the 1.1 s of the second tier
    assert opened.eval("() => window.sought") == pytest.approx(0.8, abs=0.05)
    opened.page.wait_for_function("() => window.played")
    assert opened.eval("() => document.getElementById('audio').currentTime") >= 0.75


def test_a_click_in_the_curves_goes_there(visit: Open, html: str) -> None:
    opened = visit(html)
    panel = opened.page.locator("#panels canvas").first
    box = panel.bounding_box()
    assert box
    panel.click(position={"x": 44 + (box["width"] - 54) / 2, "y": 50})
    assert opened.eval("() => Number(document.getElementById('seek').value)") == pytest.approx(
        1.0, abs=0.05
    )


def test_another_control_and_another_clip_are_shown(visit: Open, html: str) -> None:
    opened = visit(html)
    opened.page.get_by_label("Curve 2", exact=True).select_option("mouthPucker")
    pucker = opened.eval(
        "() => Chart.getChart(document.querySelectorAll('#panels canvas')[1]).data.datasets[2].data.at(-1).y"
    )
    assert pucker == pytest.approx(0.6, abs=0.01)
    opened.page.locator("#clip").select_option("1")
    assert opened.page.locator("#text").text_content() == "Mama made clip number 2."
    assert opened.page.get_by_label("Curve 2", exact=True).input_value() == "mouthPucker"


def test_everything_is_reached_by_keyboard(visit: Open, html: str) -> None:
    opened = visit(html)
    focused = "() => document.activeElement.className"
    for _ in range(12):
        opened.page.keyboard.press("Tab")
        if opened.eval(focused) == "card":
            break
    assert opened.eval(focused) == "card"
    assert opened.eval("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before = pressed(opened)
    opened.page.keyboard.press("Space")
    assert pressed(opened) != before
    opened.page.keyboard.press("Enter")
    assert sorted(pressed(opened)) == sorted(before)
    opened.eval("() => document.activeElement.blur()")
    opened.page.keyboard.press("Space")
    opened.page.wait_for_function("() => document.getElementById('audio').currentTime > 0.1")


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (360, "dark")]
)
def test_it_fits_its_window(
    visit: Open, html: str, screenshots: Path, width: int, scheme: str
) -> None:
    opened = visit(html, width=width, color_scheme=scheme)
    opened.eval(SEEK, 1.3)
    opened.page.screenshot(path=screenshots / f"page-{width}-{scheme}.png", full_page=True)
    assert opened.eval(OVERFLOW) <= 0
    opened.eval("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    opened.page.locator("canvas.training").scroll_into_view_if_needed()
    opened.page.wait_for_function("() => Chart.getChart(document.querySelector('canvas.training'))")
    opened.page.screenshot(path=screenshots / f"page-{width}-{scheme}-open.png", full_page=True)
    assert opened.eval(OVERFLOW) <= 0


def test_colours_follow_the_reader(visit: Open, html: str) -> None:
    opened = visit(html, color_scheme="light", reduced_motion="reduce")
    colour = "() => Chart.getChart(document.querySelector('#panels canvas')).data.datasets[0].borderColor"
    paper = "() => getComputedStyle(document.body).backgroundColor"
    light = opened.eval(colour), opened.eval(paper)
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_function(f"() => ({colour})() !== '#0072b2'")
    dark = opened.eval(colour), opened.eval(paper)
    assert light == ("#0072b2", "rgb(251, 250, 248)")
    assert dark == ("#56b4e9", "rgb(21, 23, 27)")
    motion = opened.eval("() => getComputedStyle(document.documentElement).scrollBehavior")
    assert motion == "auto"


def test_a_link_unfolds_its_section(visit: Open, html: str) -> None:
    opened = visit(html)
    opened.page.get_by_role("link", name="All gates").click()
    assert opened.eval("() => document.getElementById('gates').open")


def test_hostile_text_is_read_and_does_not_run(visit: Open) -> None:
    text = (
        '</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>{{ 7 * 7 }}'
    )
    tiers = (teacher_row(), model_row(text, "fp32", 500, 80.0, 0.001))
    shown = clips_of(tiers)
    hostile = replace(shown.clips[0], text=text, clip=text)
    made = document(name=text, gates=(gate(text, 0.1, 0.5),), tiers=tiers)
    opened = visit(to_page(made, replace(shown, clips=(hostile,)), {}))
    opened.page.locator(".card").click()
    opened.page.locator(".card").click()
    assert opened.page.locator("h1").text_content() == text
    assert opened.page.locator("#text").text_content() == text
    assert opened.eval("() => [window.hacked ?? null, document.images.length]") == [None, 0]


@pytest.mark.parametrize("kind", ["aperture", "bars"])
def test_other_rigs_are_shown_as_what_is_known_of_them(visit: Open, kind: str) -> None:
    made = document()
    names = {"jawOpen": "gap", "mouthPucker": "oo"}
    renamed = tuple(
        replace(
            item,
            teacher={names[n]: v for n, v in item.teacher.items() if n in names},
            tiers=tuple(
                replace(t, values={names[n]: v for n, v in t.values.items() if n in names})
                for t in item.tiers
            ),
            shown=("gap",),
        )
        for item in clips_of().clips
    )
    assert made.teacher.rig
    rig = replace(made.teacher.rig, name="own", aperture={"gap": 1.0})
    teacher = replace(made.teacher, rig=rig if kind == "aperture" else None)
    opened = visit(to_page(replace(made, teacher=teacher), replace(clips_of(), clips=renamed), {}))
    caption = opened.page.locator("#caption").text_content() or ""
    assert ("only the distance of the lips" in caption) == (kind == "aperture")
    assert ("bars in place of a face" in caption) == (kind == "bars")
    picture = "() => document.querySelector('#faces canvas').toDataURL()"
    before = opened.eval(picture)
    opened.eval(SEEK, 1.3)
    assert opened.eval(picture) != before
    if kind == "aperture":
        assert opened.eval(COUNT_INSIDE, ["teacher", INSIDE]) > 0


@pytest.mark.parametrize("students", [0, 1, 15])
def test_few_or_many_tiers_and_no_clips(visit: Open, students: int) -> None:
    rows = [
        model_row(f"student-{i}", "fp32", 10_000 * (i + 1), 80.0, 0.02 / (i + 1), closed=None)
        for i in range(students)
    ]
    opened = visit(to_page(document(tiers=(teacher_row(), *rows), gates=()), None, {}))
    assert opened.page.locator(".card").count() == students
    assert opened.page.locator("#player .notice").count() == 1


def test_tiers_that_nobody_judged_can_be_chosen(visit: Open) -> None:
    row = model_row("unknown", "fp32", 500, None, None, closed=None)
    rows = (replace(row, benchmark=None, cost=None, bytes=None),)
    opened = visit(to_page(document(tiers=rows), clips_of(rows), sounds()))
    card(opened, "unknown, fp32").click()
    assert faces(opened) == ["teacher"]
