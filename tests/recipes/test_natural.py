"""Plans of natural voices: who speaks, what, on which side; and what is made of the model's times."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from compress.speech.split import prompt_id, split
from compress.speech.visemes import Segment
from recipes.build import kokoro, natural_pack, sentences
from recipes.build.natural import plan
from recipes.build.natural_voices import NEVER_HEARD, SPEAKS, Cast
from recipes.build.phones import ipa_visemes
from recipes.build.voices import DICTIONARIES

NAMES = (*NEVER_HEARD, "af_heart", "am_adam", "bm_daniel", "ef_dora", "hf_alpha", "if_sara", "zf_xiaoni", "pm_alex", "jf_nezumi")  # fmt: skip
CAST = Cast(NAMES)

needs_words = pytest.mark.skipif(
    not (DICTIONARIES / "american-english").exists(), reason="Debian's word lists are not here"
)


def test_who_was_never_heard_speaks_on_the_held_out_side_alone() -> None:
    rng = random.Random(0)
    for _ in range(500):
        heard, never = CAST.drawn(rng, "train"), CAST.drawn(rng, "heldout")
        assert not {name for name, _ in heard.parts} & set(NEVER_HEARD)
        assert {name for name, _ in never.parts} & set(NEVER_HEARD)
        assert sum(weight for _, weight in heard.parts) == pytest.approx(1)


def test_few_voices_are_among_more_and_speak_english() -> None:
    def speakers(few: int) -> set[str]:
        rng = random.Random(0)
        voices = [Cast(NAMES, few).drawn(rng, "train") for _ in range(200)]
        assert {voice.language for voice in voices} == {"en-us"}
        return {voice.name for voice in voices}

    one, four, eight = speakers(1), speakers(4), speakers(8)
    assert (len(one), len(four), len(eight)) == (1, 4, 8)
    assert one < four < eight
    assert not eight & set(NEVER_HEARD)


@needs_words
@pytest.mark.parametrize("side", ["train", "heldout"])
def test_a_plan_is_the_same_each_time_and_lies_on_its_side(side: str) -> None:
    for number in range(40):
        clip = plan(number, side, CAST)  # type: ignore[arg-type]
        assert clip == plan(number, side, CAST)  # type: ignore[arg-type]
        assert split(prompt_id(clip.name)) == side
        assert 0.8 <= clip.speed <= 1.25


@needs_words
def test_no_content_word_is_on_both_sides() -> None:
    for language in SPEAKS.values():
        labials, every = zip(
            *(sentences._content(language, side) for side in ("train", "heldout")), strict=True
        )
        assert not set(every[0]) & set(every[1])
        assert all(len(words) >= 3 for words in labials), language


def test_marks_lengthen_the_phone_they_belong_to() -> None:
    letters = ["p", "ˈ", "A", "ː", " ", "m"]
    # Ends of the token before the first, and of each.
    ends = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert kokoro._phones(letters, ends) == [
        ("p", 0.1, 0.2),
        ("eɪ", 0.2, 0.5),
        ("", 0.5, 0.6),
        ("m", 0.6, 0.7),
    ]


def test_a_phone_before_a_pause_ends_with_its_sound_but_lips_stay_closed() -> None:
    audio = np.zeros(16_000, np.float32)
    audio[:4_800] = 0.5  # 0.3 s
    vowel = [Segment("aa", 0.1, 0.8), Segment("sil", 0.8, 1.0)]
    assert kokoro._ending_with_sound(vowel, audio) == [
        Segment("aa", 0.1, 0.3),
        Segment("sil", 0.3, 0.8),
        Segment("sil", 0.8, 1.0),
    ]
    closed = [Segment("PP", 0.1, 0.8), Segment("sil", 0.8, 1.0)]
    assert kokoro._ending_with_sound(closed, audio) == closed
    inside = [Segment("aa", 0.1, 0.8), Segment("SS", 0.8, 1.0)]
    assert kokoro._ending_with_sound(inside, audio)[0] == inside[0]


def test_packing_takes_the_lowest_numbers_of_each_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    made, packed = tmp_path / "made", tmp_path / "packed"
    names = [f"natural/en/{i:05d}-{j}" for i in range(12) for j in range(3)]
    entries = {}
    for name in names:
        path = made / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.sin(np.arange(32_000) / 9), 16_000)
        entries[name] = {"text": "a", "voice": "af_heart", "visemes": [["aa", 0.1, 1.9]]}
    (made / "alignments.json").write_text(json.dumps(entries))
    monkeypatch.setattr(natural_pack, "MINUTES", {"train": 10 / 60, "heldout": 2 / 60})
    natural_pack.pack(made, packed)
    sides = {
        side: [n for n in names if split(prompt_id(n)) == side] for side in ("train", "heldout")
    }
    written = {
        path.relative_to(packed).with_suffix("").as_posix() for path in packed.rglob("*.opus")
    }
    assert written == {*sides["train"][:5], *sides["heldout"][:1]}
    judged_by = json.loads((packed / "alignments.json").read_text("utf-8"))
    assert judged_by == {sides["heldout"][0]: entries[sides["heldout"][0]]}


def test_every_letter_that_is_no_mark_has_a_viseme() -> None:
    """Those of the languages that it speaks; the rest of the model's letters are not written by us."""
    phones = (
        "abcdefhijklmnopqrstuvwxyzçæðøœŋβθχɐɑɒɔɕɖəɚɛɜɟɡɣɤɥɨɪɯɰɲɳɴɸɹɻɽɾʁʂʃʈʊʋʌʎʒʔʝʰᵊᵻAIOQWYʣʥʦʨʤʧ"
    )
    assert [p for p in phones if not ipa_visemes(kokoro._SPELLED.get(p, p))] == []
