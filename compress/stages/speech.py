"""Which speech a run has, and which side of the split each clip is on."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from compress.assets import resolve
from compress.errors import AudioError
from compress.labels import Spoken
from compress.progress import bar
from compress.sources import Clip, Skipped
from compress.sources.folder import scan
from compress.split import Side, prompt_id, split

if TYPE_CHECKING:
    from compress.recipe import SpeechSettings


@dataclass(frozen=True)
class Speech:
    """Usable clips with their sides, sorted by id; files left out; the folders of both."""

    spoken: tuple[Spoken, ...]
    skipped: tuple[Skipped, ...]
    folders: tuple[Path, ...]

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Files left out, named from their source folder on, and why."""
        return [(file.name, file.reason) for file in self.skipped]


def gather(settings: "SpeechSettings", base: Path) -> Speech:
    """Scan the folders that a recipe names.

    Without held-out folders the one split function divides the clips.

    Raises `AudioError` when too much is unusable, when a clip's id comes twice, or when one side is
    empty.
    """
    train, heldout = (
        [resolve(name, base) for name in names] for names in (settings.train, settings.heldout)
    )
    spoken: list[Spoken] = []
    skipped: list[Skipped] = []
    sides: list[tuple[list[Path], Side | None]] = [(train, None)]
    if heldout:
        sides = [(train, "train"), (heldout, "heldout")]
    for folders, side in sides:
        with bar("read", 1) as progress:
            found = scan(
                folders,
                min_clip_s=settings.min_clip_s,
                max_bad_share=settings.max_bad_share,
                progress=lambda done, total: progress(done / total),
            )
        skipped += found.skipped
        spoken += [Spoken(clip, side or split(prompt_id(clip.recording))) for clip in found.clips]
    spoken.sort(key=lambda s: s.clip.id)
    _check([s.clip for s in spoken], spoken)
    return Speech(tuple(spoken), tuple(skipped), tuple(train + heldout))


def _check(clips: list[Clip], spoken: list[Spoken]) -> None:
    for one, other in pairwise(clips):
        if one.id == other.id:
            raise AudioError(
                f"{one.path} and {other.path} would both be the clip {one.id}; rename one of them."
            )
    sides = {s.side for s in spoken}
    if len(sides) < 2:
        only = "training" if "train" in sides else "held-out"
        raise AudioError(
            f"All {len(spoken)} clips fall on the {only} side of the split, which takes one prompt "
            f"in six by the hash of its id. Add speech, or name folders of held-out speech under "
            f"speech.heldout."
        )
