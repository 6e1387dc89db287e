"""The reference teacher: from disk and back, and every way in which a checkpoint can be wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compress.assets import resolve
from compress.errors import TeacherError
from compress.teachers import Opening
from compress.teachers.formats.reference import find, open_checkpoint
from compress.teachers.networks import voice2face
from compress.teachers.networks.moonshine import MoonshineConfig
from compress.teachers.networks.voice2face import Voice2Face, frame_positions, save_checkpoint


@pytest.fixture
def folder(tiny_voice2face: Voice2Face, tmp_path: Path) -> Path:
    save_checkpoint(tiny_voice2face, tmp_path / "teacher")
    return tmp_path / "teacher"


AUDIO = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32))


@pytest.mark.parametrize("name", ["", "model.safetensors"], ids=["folder", "file"])
def test_a_checkpoint_comes_back(tiny_voice2face: Voice2Face, folder: Path, name: str) -> None:
    again = open_checkpoint(folder / name, Opening())
    assert again.config == tiny_voice2face.config
    assert not again.training
    assert again.parameters_count == tiny_voice2face.parameters_count > 1000
    assert torch.equal(again.animate(AUDIO), tiny_voice2face.animate(AUDIO))


def test_curves_keep_the_contract(tiny_voice2face: Voice2Face) -> None:
    curves = tiny_voice2face.animate(AUDIO)
    assert curves.shape == (2, 17, 3), "30 frames a second start 17 times in 0.5625 s"
    assert curves.dtype == torch.float32
    assert torch.equal(curves[..., 2], torch.full((2, 17), 0.1)), "the constant"
    assert curves.min() >= 0
    assert curves.max() <= 1
    for i in range(2):
        alone = tiny_voice2face.animate(AUDIO[i : i + 1])[0]
        torch.testing.assert_close(alone, curves[i], atol=1e-5, rtol=0)


def test_driven_controls_lie_in_their_columns(tiny_voice2face: Voice2Face) -> None:
    """``mouthClose`` is the head's first output and the rig's second control."""
    with torch.no_grad():
        tiny_voice2face.get_parameter("head.rig.2.bias").copy_(torch.tensor([-50.0, 50.0]))
    curves = tiny_voice2face.animate(AUDIO)
    assert torch.equal(curves[0, 0], torch.tensor([1.0, 0.0, 0.1]))


def test_a_clip_shorter_than_the_encoder_sees_has_frames(tiny_voice2face: Voice2Face) -> None:
    assert tiny_voice2face.animate(torch.zeros(1, 100)).shape == (1, 1, 3)


def test_frames_lie_among_the_encoders_frames() -> None:
    """The encoder's first frame is centred on sample 447, and they come every 384 samples."""
    position = frame_positions(4, 30.0, MoonshineConfig())
    expected = [(round(i * 16_000 / 30, 6) - 447) / 384 for i in range(4)]
    np.testing.assert_allclose(position.numpy(), expected, rtol=1e-5)


def test_interpolation_is_that_of_numpy() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 6, 2)).astype(np.float32)
    position = np.array([[-2.0, 0.0, 0.25, 3.5, 5.0, 9.0]], np.float32)
    found = voice2face._interpolate(torch.from_numpy(x), torch.from_numpy(position))[0].numpy()
    for channel in range(2):
        expected = np.interp(position[0], np.arange(6), x[0, :, channel])
        np.testing.assert_allclose(found[:, channel], expected, atol=1e-6)


def test_other_files_are_not_of_this_format(tmp_path: Path, folder: Path) -> None:
    assert find("nothing", tmp_path) is None
    assert find(".", tmp_path) is None
    assert find("config.json", folder) is None
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}')
    assert find(".", folder) is None
    (folder / "config.json").unlink()
    assert find("model.safetensors", folder) is None


def refused(folder: Path) -> str:
    with pytest.raises(TeacherError) as caught:
        open_checkpoint(folder, Opening())
    message = str(caught.value)
    assert "\n" not in message, "one paragraph"
    assert str(folder) in message
    return message


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder: Path, kept: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "truncated" in refused(folder)


def test_weights_of_another_shape_are_named(tiny_voice2face: Voice2Face, folder: Path) -> None:
    state = tiny_voice2face.state_dict()
    state["head.input.weight"] = torch.zeros(9, 16)
    state["head.extra"] = torch.zeros(1)
    del state["head.mix"]
    save_file(state, folder / "model.safetensors")
    message = refused(folder)
    assert "head.input.weight is [9, 16], expected [8, 16]" in message
    assert "head.mix is missing" in message
    assert "head.extra is not expected" in message


def test_many_wrong_weights_are_counted(folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    assert ", and " in refused(folder)
    assert len(refused(folder)) < 500


def change(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    for path, value in fields.items():
        *parents, key = path.split("__")
        section = config
        for parent in parents:
            section = section[parent]
        if value is None:
            del section[key]
        else:
            section[key] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"controls": None}, "KeyError: 'controls'"),
        ({"version": None}, "KeyError: 'version'"),
        ({"encoder": None}, "KeyError: 'encoder'"),
        ({"rate_hz": None}, "rate_hz"),
        ({"head__encoder_layers": None}, "KeyError: 'encoder_layers'"),
        ({"surprise": 1}, "surprise"),
        ({"head__surprise": 1}, "surprise"),
        ({"version": 2}, "found version 2 .* expected version 1"),
        ({"encoder": "wavlm"}, "encoder 'wavlm', .* 'hubert' or 'moonshine'"),
        ({"encoder": "voice2face"}, "encoder 'voice2face'"),
        ({"encoder": "hubert"}, "encoder_config has dim, heads, layers, rotary_dim"),
        ({"encoder_weights": "hubert"}, "no complete Hugging Face folder .* found nothing"),
        ({"driven": ["smile"]}, "controls lacks smile"),
        ({"driven": []}, "driven is empty"),
        ({"driven": ["jawOpen", "jawOpen"]}, "names one twice"),
        ({"constants": {"blink": 0.0}}, "controls lacks blink"),
        ({"constants": {"jawOpen": "wide"}}, "TypeError"),
        ({"rate_hz": 0}, "rate_hz is 0"),
        ({"rate_hz": "30"}, "TypeError"),
        ({"limits": [1, 0]}, "the lower one first"),
        ({"limits": [1]}, "ValueError"),
        ({"head__encoder_layers": [3]}, r"are \[3\], expected some of 0 to 2"),
        ({"head__hidden": 0}, "hidden is 0"),
        ({"head__lstm": 1.5}, "lstm is 1.5"),
        ({"head__dropout": 2}, "dropout is 2"),
        ({"encoder_config__heads": 3}, "16 does not divide into 3 heads"),
    ],
)
def test_a_config_that_cannot_be_is_refused(
    folder: Path, fields: dict[str, Any], message: str
) -> None:
    change(folder, **fields)
    with pytest.raises(TeacherError, match=message):
        open_checkpoint(folder, Opening())
    refused(folder)


def test_a_folder_without_weights_is_told_what_it_lacks(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    assert find(".", folder) is not None
    assert "has no weights beside it. Expected model.safetensors" in refused(folder)


def test_the_demo_is_written_as_it_is_read(tmp_path: Path) -> None:
    """Byte for byte, weights in half precision: no release of lipstill may change its hash."""
    demo = resolve("builtin:voice2face-demo", tmp_path)
    save_checkpoint(open_checkpoint(demo, Opening()), tmp_path, torch.float16)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (demo / name).read_bytes()


def test_a_config_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"format": ')
    assert "JSONDecodeError" in refused(folder)
