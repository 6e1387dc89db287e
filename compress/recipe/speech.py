"""The sections `speech` and `labels` of a recipe: what is heard, and how its labels are kept."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from compress.recipe.mistakes import words
from compress.recipe.section import Positive, Section, Share, Text


class SpeechSettings(Section):
    train: tuple[Text, ...] = Field(
        min_length=1,
        description="folders of audio, builtin:NAME, Lhotse manifests or Lhotse Shar folders, the "
        "last two also by URL; divided by prompt if `heldout` is empty",
    )
    heldout: tuple[Text, ...] = Field((), description="the same, on which students are judged only")
    rest: tuple[Text, ...] = Field(
        (),
        description="the same, of sound that is not speech: noise, hum, typing, music; students learn "
        "to hold the teacher's rest pose there; one recording in six only judges",
    )
    rest_share: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="largest share of such sound in training; it is its share of the seconds where "
        "that is less",
    )
    kinds: dict[Text, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        {},
        description="kind of voice → patterns of held-out clip ids, such as espeak/*; the first that "
        "names a clip counts, and figures are given for each kind",
    )
    max_bad_share: Share = Field(
        0.05, description="share of unusable files above which a run stops, 0 to 1"
    )
    min_clip_s: Positive = Field(0.5, le=3600, description="shortest usable clip, in seconds")
    max_clip_s: float = Field(
        60.0,
        ge=1,
        le=3600,
        description="longer clips are divided into parts of this length, in seconds; their curves "
        "are those of the whole",
    )
    timeout_s: Positive = Field(
        60.0,
        le=86_400,
        description="in which what is fetched by URL has to come, in seconds; tried three times",
    )

    @model_validator(mode="after")
    def _sides_apart(self) -> Self:
        both = sorted(set(self.train) & set(self.heldout))
        if both:
            raise ValueError(
                f"`train` and `heldout` both list {words(both)}; a source can be on one side only"
            )
        for side, names in (("train", self.train), ("heldout", self.heldout)):
            if both := sorted(set(names) & set(self.rest)):
                raise ValueError(
                    f"`{side}` and `rest` both list {words(both)}; a source is speech, or it is not"
                )
        return self


class LabelSettings(Section):
    batch_s: Positive = Field(
        60.0, le=36_000, description="audio in one teacher batch of equal lengths, in seconds"
    )
    shard_s: Positive = Field(
        600.0, le=86_400, description="most audio of one shard file, in seconds"
    )
    keep_audio: bool | None = Field(
        None,
        description="keep 16 kHz FLAC beside the curves, so that training needs no other audio; "
        "null for where some speech is not in files of this machine",
    )
    max_missing_share: Share = Field(
        0.01, description="share of clips without labels above which a run stops, 0 to 1"
    )
