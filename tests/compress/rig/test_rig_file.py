"""A rig that is not ARKit's says what it is in a YAML file."""

from pathlib import Path

import numpy as np
import pytest

from compress.errors import RigFileError
from compress.rig.rig import ARKIT_RIG, Rig
from compress.rig.rig_file import find_rig, read_rig, rig_of

CONTROLS = ("jaw_open", "lip_gap", "lip_press", "brow")
TEXT = """\
name: studio face
regions: {jaw: [jaw_open], lips: ["lip_*"]}
lips_closed: {weights: {lip_gap: 1.0, lip_press: -0.5, lip_roll: 2.0}, below: 0.1, optional: [lip_roll]}
labels: {jaw_open: Jaw}
shown: ["lip_*", jaw_open]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "rig.yaml"
    path.write_text(text)
    return path


def test_what_a_file_says_is_known(tmp_path: Path) -> None:
    rig = read_rig(written(tmp_path, TEXT)).rig(CONTROLS)
    assert rig.regions(CONTROLS) == {"jaw": (0,), "lips": (1, 2), "other": (3,)}
    assert (rig.label("jaw_open"), rig.label("brow")) == ("Jaw", "brow")
    assert rig.shown == ("lip_gap", "lip_press", "jaw_open")
    rule = rig.closure_of(CONTROLS)
    assert rule is not None
    poses = np.array([[0.0, 0.3, 0.5, 0.0], [0.9, 0.2, 0.5, 0.0]])
    assert rule.aperture(poses, CONTROLS) == pytest.approx([0.05, -0.05])
    assert rule.closed_below == 0.1


def test_lips_that_close_above_a_limit(tmp_path: Path) -> None:
    text = "name: slider\nlips_closed: {weights: {together: 1.0}, above: 0.8}\n"
    rule = read_rig(written(tmp_path, text)).rig(("together",)).closure
    assert rule is not None
    closed = rule.aperture(np.array([[0.9], [0.7]]), ("together",)) < rule.closed_below
    assert closed.tolist() == [True, False]


def test_the_key_is_of_what_it_says(tmp_path: Path) -> None:
    key = read_rig(written(tmp_path, TEXT)).key
    assert read_rig(written(tmp_path, "# a comment\n" + TEXT)).key == key
    assert read_rig(written(tmp_path, TEXT.replace("below: 0.1", "below: 0.2"))).key != key


def test_without_a_file_only_names_of_arkit_are_known(tmp_path: Path) -> None:
    assert find_rig(None, tmp_path) is None
    assert rig_of(None, CONTROLS) == Rig()
    assert rig_of(None, (*CONTROLS, "jawOpen")) is ARKIT_RIG


def test_every_wrong_name_is_said_together(tmp_path: Path) -> None:
    text = TEXT.replace("[jaw_open], lips", "[jaw_opn, lip_gap], lips").replace(
        "Jaw}", "Jaw, tail: T}"
    )
    with pytest.raises(RigFileError) as caught:
        read_rig(written(tmp_path, text)).rig(CONTROLS)
    said = str(caught.value)
    assert "rig.yaml has 3 mistakes" in said
    assert (
        'regions.jaw: found "jaw_opn", which no control of the teacher is (did you mean "jaw_open"?)'
        in said
    )
    assert "regions: lip_gap is in jaw and in lips, expected one" in said
    assert 'labels: found "tail"' in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nlips_closed: {weights: {a: 1}, below: 0.1, above: 1}", "below and above"),
        ("name: a\nlips_closed: {weights: {a: 1}}", "neither below nor above"),
        ("name: a\nlips_closed: {weights: {a: 1}, below: 1, optional: [a]}", "optional controls"),
        ("name: a\nlips_closed: {weights: {}, below: 1}", "lips_closed.weights"),
        ("regions: {}", "name: missing"),
        ("name: a\nregion: {}", 'did you mean "regions"'),
        ("name: [", "not readable as YAML"),
        ("just words", 'found "just words", expected a mapping'),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RigFileError) as caught:
        read_rig(written(tmp_path, text))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"rig file {tmp_path / 'rig.yaml'}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RigFileError, match=r"teacher.rig names it, and it cannot be read"):
        find_rig("none.yaml", tmp_path)
