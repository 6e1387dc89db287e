"""A labelled recipe with a trained student, for the tables that judge students."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.distill import stage as training
from compress.labels import stage as labelling
from compress.recipe.recipe import load_recipe
from compress.run.planning import find_inputs, plan
from recipes.ablation import judging
from recipes.ablation.running import Bench


@pytest.fixture(scope="module")
def bench(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The tiny recipe, labelled, its student trained as the guide; all its clips in each group."""
    folder = tmp_path_factory.mktemp("ablation")
    recipe = load_recipe(workshop / "recipe.yaml")
    inputs = find_inputs(recipe)
    jobs = plan(recipe, inputs, folder)
    labels = labelling.run(jobs.label)
    training.run(jobs.students[0].distill, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "GROUPS", dict.fromkeys(judging.GROUPS, ("*",)))
        yield Bench(recipe, labels, inputs.alignments, jobs.students[0].distill.folder, folder)
