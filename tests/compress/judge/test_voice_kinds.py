"""Kinds, languages and voices by the names of clips."""

import pytest

from compress.judge.voice_kinds import (
    ALL,
    OTHER,
    Group,
    groups,
    kind_of,
    language_of,
    numbered,
    voice_of,
)

KINDS = {
    "known real speakers": ("en/*", "it/*"),
    "natural voices never heard": ("natural/*",),
    "formant voices never heard": ("espeak/*", "natural/robot/*"),
}


@pytest.mark.parametrize(
    ("clip", "kind"),
    [
        ("en/lj/0001", "known real speakers"),
        ("it/riccardo-3", "known real speakers"),
        ("natural/zh/af_heart/3", "natural voices never heard"),
        ("natural/robot/1", "natural voices never heard"),  # the first that names it
        ("espeak/de/7", "formant voices never heard"),
        ("EN/lj/0001", OTHER),  # letters count
        ("de/thorsten/1", OTHER),
        ("clip", OTHER),
    ],
)
def test_the_first_kind_that_names_a_clip_counts(clip: str, kind: str) -> None:
    assert kind_of(clip, KINDS) == kind
    assert kind_of(clip, {}) == ALL


@pytest.mark.parametrize(
    ("clip", "language"),
    [
        ("en/lj/0001", "en"),
        ("natural/zh/af_heart/3", "zh"),
        ("natural/af_heart/zh", None),  # that is the clip itself
        ("LJ/en/1", "en"),
        ("clip", None),
    ],
)
def test_the_language_is_the_first_folder_of_two_letters(clip: str, language: str | None) -> None:
    assert language_of(clip) == language


def test_a_voice_is_named_or_is_the_folders() -> None:
    assert voice_of("natural/en/3", "af_heart") == "af_heart"
    assert voice_of("en/lj/0001", None) == "en/lj"
    assert voice_of("clip", None) == ""
    assert numbered(["b", "", "b", "a"]).tolist() == [2, 0, 2, 1]


def test_groups_are_in_the_recipes_order_each_with_its_languages() -> None:
    clips = ["natural/zh/1", "en/a", "it/b", "x/c", "en/d", "espeak/1"]
    assert groups(clips, KINDS) == [
        Group("known real speakers", None, (1, 2, 4)),
        Group("known real speakers", "en", (1, 4)),
        Group("known real speakers", "it", (2,)),
        Group("natural voices never heard", None, (0,)),
        Group("natural voices never heard", "zh", (0,)),
        Group("formant voices never heard", None, (5,)),
        Group(OTHER, None, (3,)),
    ]
    assert [group.kind for group in groups(["a", "en/b"], {})] == [ALL, ALL]
    assert groups([], KINDS) == []
