"""The one split: it never changes, knows no language, and holds out one prompt in six."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.speech.split import prompt_id, split, watched


@pytest.mark.parametrize(
    ("clip_id", "prompt"),
    [
        ("en/vm-intro", "vm-intro"),
        ("it/vm-intro", "vm-intro"),
        ("en/a/b", "a/b"),
        ("84/121123/84-121123-0000", "84/121123/84-121123-0000"),
        ("eng/vm-intro", "eng/vm-intro"),
        ("en", "en"),
    ],
)
def test_prompts_have_no_language(clip_id: str, prompt: str) -> None:
    assert prompt_id(clip_id) == prompt


def test_the_split_never_changes() -> None:
    """By hand: first 16 digits of `printf NAME | sha256sum` as a number, modulo 6."""
    assert 0x6DB4C0EC9EA88A7E % 6 == 2
    assert split("vm-intro") == "train"
    assert 0xC4A19B8E5965B5F4 % 6 == 0
    assert split("vm-bye") == "heldout"


def test_one_prompt_in_six_is_held_out() -> None:
    sides = [split(f"prompt-{number}") for number in range(6000)]
    # Four standard deviations of a binomial with p = 1/6.
    assert sides.count("heldout") == pytest.approx(1000, abs=4 * (6000 * 5 / 36) ** 0.5)


def test_the_watched_prompts_never_change() -> None:
    """By hand: digits 17 to 32 of `printf NAME | sha256sum` as a number, modulo 24."""
    assert 0x2712D65E1983C9FF % 24 == 23
    assert not watched("vm-intro")
    assert 0xFEA41D13CEDC2E40 % 24 == 0
    assert watched("hello-world")


def test_one_prompt_in_24_is_watched_on_either_side() -> None:
    """By other bits of the hash, so that it does not follow from the side."""
    names = [f"prompt-{number}" for number in range(24_000)]
    for side, share in (("train", 5 / 6), ("heldout", 1 / 6)):
        found = [watched(name) for name in names if split(name) == side]
        assert len(found) == pytest.approx(24_000 * share, rel=0.03)
        # Four standard deviations of a binomial with p = 1/24.
        deviation = (len(found) * 23) ** 0.5 / 24
        assert sum(found) == pytest.approx(len(found) / 24, abs=4 * deviation)


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_every_name_has_one_side(name: str) -> None:
    assert split(name) == split(name)
    assert split(prompt_id(f"en/{name}")) == split(prompt_id(f"fr/{name}"))
    assert watched(prompt_id(f"en/{name}")) == watched(prompt_id(f"fr/{name}"))
