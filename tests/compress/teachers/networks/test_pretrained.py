"""Encoder weights in a Hugging Face folder: here, sharded, pickled, of a recogniser, and on the hub."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.errors import MissingError, TeacherError
from compress.teachers import Opening
from compress.teachers.formats import reference
from compress.teachers.loading import describe, find_teacher
from compress.teachers.networks import voice2face
from compress.teachers.networks.voice2face import Voice2Face, frame_positions
from tests.compress.teachers.hubert_folders import (
    as_pickle,
    change_config,
    untrained,
    write_hubert,
    write_reference,
)

REVISION = "0123456789abcdef0123456789abcdef01234567"
AUDIO = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint whose encoder lies in ``hubert`` beside it."""
    write_hubert(tmp_path / "hubert")
    write_reference(tmp_path / "teacher", "../hubert")
    return tmp_path / "teacher"


def opened(folder: Path, download: bool = False) -> Voice2Face:
    return reference.open_checkpoint(folder, Opening(download=download))


def refused(folder: Path, kind: type[Exception] = TeacherError) -> str:
    with pytest.raises(kind) as caught:
        opened(folder)
    assert "\n" not in str(caught.value), "one paragraph"
    return str(caught.value)


@torch.inference_mode()
def test_the_encoder_is_that_of_the_folder(folder: Path, tmp_path: Path) -> None:
    model = write_hubert(tmp_path / "hubert")
    teacher = opened(folder)
    hidden = model((AUDIO - AUDIO.mean(1, True)) / AUDIO.std(1, correction=0, keepdim=True))
    torch.testing.assert_close(
        teacher.encoder(AUDIO)[-1], hidden.last_hidden_state, atol=1e-4, rtol=1e-4
    )
    curves = teacher.animate(AUDIO)
    assert curves.shape == (2, 17, 52)
    assert curves.std(1).max() > 0.01, "it moves"
    for i in range(2):
        alone = teacher.animate(AUDIO[i : i + 1])[0]
        torch.testing.assert_close(alone, curves[i], atol=1e-5, rtol=0)


def test_the_weights_are_those_of_the_head_alone(folder: Path) -> None:
    names = set(load_file(folder / "model.safetensors"))
    assert names
    assert all(name.startswith("head.") for name in names)


def test_an_encoder_beside_the_head_comes_back(tmp_path: Path) -> None:
    teacher = write_reference(tmp_path / "teacher", None)
    again = opened(tmp_path / "teacher")
    assert again.config == teacher.config
    assert torch.equal(again.animate(AUDIO), teacher.animate(AUDIO))
    # Under the names that HubertModel itself has.
    state = load_file(tmp_path / "teacher" / "model.safetensors")
    state = {name.replace("encoder.hubert.", "encoder."): value for name, value in state.items()}
    save_file(state, tmp_path / "teacher" / "model.safetensors")
    assert torch.equal(opened(tmp_path / "teacher").animate(AUDIO), teacher.animate(AUDIO))


def sharded(hubert: Path) -> None:
    state = load_file(hubert / "model.safetensors")
    names = sorted(state)
    where = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(where.values()):
        part = {name: state[name] for name in names if where[name] == shard}
        save_file(part, hubert / shard)
    (hubert / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (hubert / "model.safetensors").unlink()


@pytest.mark.parametrize("change", [as_pickle, sharded])
def test_weights_in_other_files_are_the_same(
    folder: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    before = opened(folder).animate(AUDIO)
    change(tmp_path / "hubert")
    assert torch.equal(opened(folder).animate(AUDIO), before)


def test_a_recogniser_has_an_encoder_too(folder: Path, tmp_path: Path) -> None:
    model = write_hubert(tmp_path / "hubert", kind="HubertForCTC")
    state = opened(folder).encoder.state_dict()
    found = state["hubert.feature_projection.projection.weight"]
    assert torch.equal(found, model.hubert.feature_projection.projection.weight)


def test_nothing_else_is_ignored(folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "hubert" / "model.safetensors"
    state = load_file(weights)
    del state["encoder.layer_norm.bias"]
    state["encoder.layer_norm.weight"] = torch.zeros(3)
    state["quantizer.weight"] = torch.zeros(1)
    save_file(state, weights)
    message = refused(folder)
    assert "encoder.hubert.encoder.layer_norm.bias is missing" in message
    assert "encoder.hubert.encoder.layer_norm.weight is [3], expected [16]" in message
    assert "encoder.hubert.quantizer.weight is not expected" in message


def test_two_encoders_are_one_too_many(folder: Path) -> None:
    save_file(untrained("../hubert").state_dict(), folder / "model.safetensors")
    assert "weights of an encoder, and its config.json names others" in refused(folder)


def test_the_hash_is_that_of_the_encoder_too(folder: Path, tmp_path: Path) -> None:
    def found() -> str:
        return find_teacher("teacher", tmp_path).hash

    hashes = {found()}
    (tmp_path / "hubert" / "README.md").write_text("a card")
    hashes.add(found())
    assert len(hashes) == 1, "a card is not the encoder"
    write_hubert(tmp_path / "hubert", seed=4)
    hashes.add(found())
    write_hubert(tmp_path / "hubert", seed=4, normalise=False)
    hashes.add(found())
    as_pickle(tmp_path / "hubert")
    hashes.add(found())
    write_hubert(tmp_path / "hubert", seed=4, hidden_act="relu")
    hashes.add(found())
    assert len(hashes) == 5
    before = find_teacher("teacher", tmp_path)
    assert before.bytes > sum(p.stat().st_size for p in (tmp_path / "hubert").glob("*.safetensors"))
    (tmp_path / "moved").mkdir()
    for name in ("teacher", "hubert"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    assert find_teacher("moved/teacher", tmp_path).hash == before.hash


@torch.inference_mode()
def test_normalising_is_what_the_folder_or_the_config_says(folder: Path, tmp_path: Path) -> None:
    quiet = 0.01 * AUDIO
    assert torch.allclose(
        opened(folder).encoder(quiet)[0], opened(folder).encoder(AUDIO)[0], atol=0.01
    )
    write_hubert(tmp_path / "hubert", normalise=False)
    assert not opened(folder).config.encoder_config.to_json()["normalise"]
    change_config(folder, encoder_config={"normalise": True})
    assert opened(folder).config.encoder_config.to_json()["normalise"]


def test_frames_stand_for_their_times() -> None:
    """Frame i hears the samples around i / rate most: gradients of what the head is given."""
    teacher = untrained(None, feat_extract_norm="layer")
    audio = torch.randn(1, 16_000, requires_grad=True)
    stem = teacher.get_submodule("encoder.hubert.feature_extractor")(audio).transpose(1, 2)
    position = frame_positions(30, 30.0, teacher.config.encoder_config)[None]
    for frame, heard in list(enumerate(voice2face._interpolate(stem, position)[0]))[1:29]:
        (gradient,) = torch.autograd.grad(heard.sum(), audio, retain_graph=True)
        seen = gradient[0].nonzero()[:, 0].double()
        moment = frame / 30 * 16_000
        assert abs(seen.mean().item() - moment) < 320
        assert seen.min() <= moment <= seen.max()


def test_a_hugging_face_folder_alone_is_no_teacher(tmp_path: Path) -> None:
    write_hubert(tmp_path / "hubert")
    for change in (lambda hubert: None, as_pickle):
        change(tmp_path / "hubert")
        file = find_teacher("hubert", tmp_path)
        assert file.format == "reference"
        message = refused(file.path)
        for said in ("an encoder only", '"encoder_weights": "PATH"', "docs/teachers.md"):
            assert said in message
        with pytest.raises(TeacherError, match="an encoder only"):
            describe(file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda hubert: (hubert / "model.safetensors").unlink(), "no complete Hugging Face folder"),
        (lambda hubert: (hubert / "config.json").unlink(), "found model.safetensors, preproc"),
        (lambda hubert: (hubert / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda hubert: (hubert / "config.json").write_text("[]"), "holds a list"),
        (lambda hubert: change_config(hubert, model_type="wav2vec2"), "model_type is 'wav2vec2'"),
        (lambda hubert: change_config(hubert, hidden_size=32), r"is \[16\], expected \[32\]"),
        (lambda hubert: change_config(hubert, hidden_act="sine"), "sine"),
        (lambda hubert: (hubert / "model.safetensors").write_bytes(b"x" * 9), "truncated"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(tmp_path / "hubert")
    find_teacher("teacher", tmp_path)
    with pytest.raises(TeacherError, match=message):
        opened(folder)
    refused(folder)


@pytest.mark.parametrize("weight_map", [{"a": "../../secret.safetensors"}, {}, [1], None])
def test_an_index_that_leaves_its_folder_is_refused(
    folder: Path, tmp_path: Path, weight_map: object
) -> None:
    sharded(tmp_path / "hubert")
    index = tmp_path / "hubert" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(TeacherError, match="is damaged: expected a weight_map"):
        find_teacher("teacher", tmp_path)


def test_a_missing_shard_is_said(folder: Path, tmp_path: Path) -> None:
    sharded(tmp_path / "hubert")
    (tmp_path / "hubert" / "model-00002-of-00002.safetensors").unlink()
    assert "no complete Hugging Face folder" in refused(folder)


# ----------------------------------------------------------------------------------------- the hub


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, as ``HF_HOME`` would make it, and a hub that would raise if it was asked."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("socket.socket.connect", None)
    return tmp_path / "cache"


@pytest.mark.parametrize("revision", ["main", "v1.0", REVISION[:10], REVISION.upper(), ""])
def test_a_revision_that_can_move_is_refused(cache: Path, tmp_path: Path, revision: str) -> None:
    write_reference(tmp_path / "teacher", f"hub:some/hubert@{revision}")
    message = refused(tmp_path / "teacher")
    assert f"'hub:some/hubert@{revision}', expected hub:OWNER/NAME@REVISION" in message
    assert "full hash of 40 digits" in message


def test_without_download_nothing_is_fetched(cache: Path, tmp_path: Path) -> None:
    write_reference(tmp_path / "teacher", f"hub:some/hubert@{REVISION}")
    message = refused(tmp_path / "teacher", MissingError)
    assert "teacher.download: true" in message
    assert f"hf download some/hubert --revision {REVISION}" in message
    found = describe(find_teacher("teacher", tmp_path))
    assert found.parameters is None
    assert "not on this machine" in found.facts["encoder weights"]


def test_what_the_cache_has_needs_no_network(cache: Path, tmp_path: Path) -> None:
    write_reference(tmp_path / "teacher", f"hub:some/hubert@{REVISION}")
    write_hubert(tmp_path / "hubert")
    snapshot = cache / "models--some--hubert" / "snapshots" / REVISION
    snapshot.parent.mkdir(parents=True)
    (tmp_path / "hubert").rename(snapshot)
    for download in (False, True):
        assert opened(tmp_path / "teacher", download).animate(AUDIO).shape == (2, 17, 52)
    assert describe(find_teacher("teacher", tmp_path)).parameters
    (snapshot / "model.safetensors").unlink()
    assert "teacher.download: true" in refused(tmp_path / "teacher", MissingError)
