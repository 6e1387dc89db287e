"""Phone alignments: read where they are, refused where they cannot be."""

import json
from pathlib import Path

import pytest

from compress.assets import resolve
from compress.errors import InputError
from compress.speech.alignments import Alignment, read_alignments
from compress.speech.visemes import Segment


def write(folder: Path, content: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "alignments.json").write_text(json.dumps(content), "utf-8")
    return folder


def test_folders_with_and_without(tmp_path: Path) -> None:
    one = write(
        tmp_path / "a", {"en/hi": {"text": "pa", "phones": [["P", 0, 0.1], ["AA1", 0.1, 0.3]]}}
    )
    two = write(tmp_path / "b", {"it/né": {"text": "né", "phones": []}})
    three = write(tmp_path / "c", {"fr/si": {"text": "si", "visemes": [["SS", 0, 0.1]]}})
    found = read_alignments([one, tmp_path, two, three])
    assert found == {
        "en/hi": Alignment(
            "pa",
            (("P", 0.0, 0.1), ("AA1", 0.1, 0.3)),
            (Segment("PP", 0.0, 0.1), Segment("aa", 0.1, 0.3)),
        ),
        "it/né": Alignment("né", (), ()),
        "fr/si": Alignment("si", (("SS", 0.0, 0.1),), (Segment("SS", 0.0, 0.1),)),
    }


SILENT = ["sil", "sp", "spn", "SPN", "", " ", None, "<eps>", "<unk>", "<p:>", "pau", "h#", "nsn"]
SILENT += ["noise", "+NOISE+", "[noise]", "{LG}", "(null)", "SIL", "brth", "lau", "#", "...", "_"]


@pytest.mark.parametrize("label", SILENT)
def test_what_aligners_write_for_no_phone_is_silence(tmp_path: Path, label: str | None) -> None:
    times = [label, 0.0, 0.1]
    content = {
        "a": {"text": "user", "phones": [times, ["P", 0.1, 0.2]]},
        "b": {"text": "user", "visemes": [times, ["PP", 0.1, 0.2]]},
    }
    found = read_alignments([write(tmp_path / "a", content)])
    for clip in ("a", "b"):
        silence, closed = found[clip].segments
        assert (silence.viseme, closed.viseme) == ("sil", "PP")


def test_who_speaks_may_be_said(tmp_path: Path) -> None:
    said = {"text": "pa", "phones": [["P", 0, 0.1]]}
    content = {"a": said | {"voice": "am_puck+bf_lily"}, "b": said, "c": said | {"voice": None}}
    found = read_alignments([write(tmp_path / "a", content)])
    assert [found[clip].voice for clip in "abc"] == ["am_puck+bf_lily", None, None]


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    content = {"né": {"text": "né", "phones": [["P", 0, 0.1]]}}
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "alignments.json").write_text(json.dumps(content, ensure_ascii=False), encoding)
        assert read_alignments([tmp_path])["né"].phones == (("P", 0.0, 0.1),)


def test_what_ships_can_be_read() -> None:
    found = read_alignments([resolve("builtin:speech", Path())])
    assert len(found) > 20
    assert all(alignment.segments for alignment in found.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "AttributeError"),
        ({"hi": {"text": "hi"}}, "at hi: KeyError: 'phones'"),
        ({"hi": {"text": "hi", "phones": [["P", 0.0]]}}, "at hi: ValueError"),
        ({"hi": {"text": "hi", "phones": [["QX", 0.0, 0.1]]}}, "at hi: KeyError: 'qx'"),
        ({"hi": {"text": "hi", "visemes": [["qx", 0.0, 0.1]]}}, "at hi: KeyError: 'qx'"),
        ({"hi": {"text": "hi", "phones": [["P", 0.2, 0.1]]}}, "P from 0.2 to 0.1 s"),
        ({"hi": {"text": "hi", "phones": [["P", -0.2, 0.1]]}}, "P from -0.2 to 0.1 s"),
        ({"hi": {"text": "hi", "phones": [["P", 0.2, float("nan")]]}}, "P from 0.2 to nan"),
        ({"hi": {"text": "hi", "phones": [], "voice": 3}}, "voice 3, expected a name"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_alignments([write(tmp_path / "a", content)])
    assert str(tmp_path / "a" / "alignments.json") in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"], ids=["cut short", "not text"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "alignments.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a file of alignments"):
        read_alignments([tmp_path])
