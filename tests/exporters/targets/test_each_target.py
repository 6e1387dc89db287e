"""One export in each target, quick enough for `make check`: the file says what its source said."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporters.signature import Signature
from exporters.targets.contract import available_targets, load_target


@pytest.mark.parametrize("name", available_targets())
def test_a_file_says_what_its_source_said(
    name: str, student: nn.Module, signature: Signature, speech: np.ndarray, tmp_path: Path
) -> None:
    target = load_target(name)
    made = target.export(student, signature, tmp_path / f"model{target.SUFFIX}")
    runtime = target.open_runtime(made.path)
    assert runtime.signature == signature
    with torch.inference_mode():
        expected = student(torch.from_numpy(speech)).numpy()
    np.testing.assert_allclose(runtime.run(speech), expected, atol=1e-5, rtol=0)
