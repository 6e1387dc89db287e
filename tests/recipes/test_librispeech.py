"""recipes/librispeech.yaml: what its comments say to do, done with a few seconds in LibriSpeech's layout."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compress.recipe.recipe import load_recipe, shipped_recipes
from compress.speech.audio import read
from compress.speech.gathering import gather
from tests.compress.speech.sources.made import chirps, write

PARTS = {"train-clean-100": ("19/198", "26/495"), "dev-clean": ("84/121123",)}


def corpus(folder: Path) -> dict[str, Path]:
    """Utterances of two readers to learn from and of one held out, id → file."""
    found = {}
    for part, chapters in PARTS.items():
        for chapter in chapters:
            stem = chapter.replace("/", "-")
            ids = [f"{stem}-{i:04}" for i in range(3)]
            for i, id_ in enumerate(ids):
                path = folder / part / chapter / f"{id_}.flac"
                found[id_] = write(path, chirps(1.0 + i / 3, 16_000, seed=len(found))[:, 0])
            text = "".join(f"{id_} WHAT IS SAID\n" for id_ in ids)
            (folder / part / chapter / f"{stem}.trans.txt").write_text(text)
    return found


@pytest.mark.slow
def test_its_commands_make_the_manifests_that_it_names(tmp_path: Path) -> None:
    files = corpus(tmp_path / "speech" / "LibriSpeech")
    comments = shipped_recipes()["librispeech"].read_text("utf-8")
    (command,) = re.findall(r"^#   lhotse (prepare .*)$", comments, re.MULTILINE)
    arguments = [a.replace("$PWD", str(tmp_path)) for a in shlex.split(command)]
    code = "from lhotse.bin.modes import cli; cli()"
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'lhotse'\n{code}", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONWARNINGS": ""},
        check=True,
        capture_output=True,
    )
    speech = gather(load_recipe("librispeech").speech, tmp_path)
    assert {s.clip.id: s.side for s in speech.spoken} == {
        id_: "heldout" if id_.startswith("84") else "train" for id_ in files
    }
    assert speech.skipped == ()
    for spoken in speech.spoken:
        np.testing.assert_array_equal(spoken.clip.read(), read(files[spoken.clip.id]))
