"""The HuBERT encoder against transformers' own model, and the ways its weights are spelt."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from compress.errors import TeacherError
from compress.teachers.networks.hubert import (
    HubertConfig,
    HubertEncoder,
    pretrained_fields,
    read_encoder,
)
from compress.teachers.networks.weights import fit_weights

BASE = HubertConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    conv_dim=(8,) * 7,
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
    normalise=False,
)
# The kinds that HuBERT large has.
LARGE = replace(BASE, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
AUDIO = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (3, 9000)).astype(np.float32))


def built(config: HubertConfig) -> HubertEncoder:
    torch.manual_seed(3)
    encoder = config.build()
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):  # which transformers leaves at 0
            torch.nn.init.normal_(parameter, std=0.1)
    return encoder


def oracle(config: HubertConfig) -> Any:
    """transformers' model of the same sizes, with the settings that it trains with."""
    fields = {name: value for name, value in config.to_json().items() if name != "normalise"}
    settings = transformers.HubertConfig(**fields, attn_implementation="eager")
    return transformers.HubertModel(settings).eval()


@pytest.mark.parametrize("config", [BASE, LARGE], ids=["base", "large"])
@torch.inference_mode()
def test_outputs_are_the_hidden_states_of_transformers(config: HubertConfig) -> None:
    encoder, expected = built(config), oracle(config)
    state = {n.removeprefix("hubert."): v for n, v in encoder.state_dict().items()}
    missing, unexpected = expected.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["masked_spec_embed"], [])
    found, states = encoder(AUDIO), expected(AUDIO, output_hidden_states=True).hidden_states
    assert len(found) == len(states) == config.layers + 1
    for output, hidden in zip(found, states, strict=True):
        assert output.shape == (3, 27, config.dim)
        torch.testing.assert_close(output, hidden, atol=1e-5, rtol=1e-5)
    # What goes into the transformer, by hand.
    features = expected.feature_projection(expected.feature_extractor(AUDIO).transpose(1, 2))
    start = features + expected.encoder.pos_conv_embed(features)
    start = start if config.do_stable_layer_norm else expected.encoder.layer_norm(start)
    torch.testing.assert_close(found[0], start, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_training_mode_changes_nothing() -> None:
    """No dropout, no layer dropped, nothing masked."""
    encoder = built(BASE)
    before = encoder(AUDIO)
    wrapped = torch.nn.Sequential(encoder).train()
    assert wrapped.training
    assert not encoder.training
    assert all(torch.equal(a, b) for a, b in zip(before, encoder(AUDIO), strict=True))


@pytest.mark.parametrize("config", [BASE, LARGE], ids=["base", "large"])
@torch.inference_mode()
def test_a_clip_does_not_hear_its_company(config: HubertConfig) -> None:
    encoder = built(replace(config, normalise=True))
    together = encoder(AUDIO * torch.tensor([[1.0], [0.01], [0.3]]))
    for i, gain in enumerate((1.0, 0.01, 0.3)):
        for output, alone in zip(together, encoder(gain * AUDIO[i : i + 1]), strict=True):
            torch.testing.assert_close(output[i], alone[0], atol=1e-5, rtol=0)


def test_stride_and_first_centre_follow_the_convolutions() -> None:
    assert (BASE.stride, BASE.least_samples, BASE.first_centre) == (320, 400, 199.5)
    other = replace(BASE, conv_dim=(8, 8), conv_kernel=(4, 3), conv_stride=(5, 2))
    assert (other.stride, other.least_samples, other.first_centre) == (10, 14, 6.5)


@pytest.mark.parametrize(
    "config",
    [LARGE, replace(LARGE, conv_dim=(8, 8), conv_kernel=(9, 3), conv_stride=(5, 2))],
    ids=["hubert's convolutions", "others"],
)
def test_a_frame_sees_what_its_config_says(config: HubertConfig) -> None:
    """Gradients of the convolutions, which in the large kind normalise each frame alone."""
    encoder = built(config)
    audio = torch.randn(1, config.least_samples + 2 * config.stride, requires_grad=True)
    features = encoder.hubert.feature_extractor(audio)
    assert features.shape == (1, 8, 3)
    features[0, :, 1].sum().backward()
    assert audio.grad is not None
    seen = audio.grad[0].nonzero()[:, 0]
    assert int(seen.min()) == config.stride
    assert int(seen.max()) == config.stride + config.least_samples - 1
    assert seen.double().mean().item() == config.first_centre + config.stride


@torch.inference_mode()
def test_the_shortest_clip_has_a_frame() -> None:
    encoder = built(BASE)
    assert encoder(torch.randn(1, 400))[-1].shape == (1, 1, 16)
    with pytest.raises(RuntimeError, match="size"):
        encoder(torch.randn(1, 399))


@torch.inference_mode()
def test_normalising_is_that_of_transformers() -> None:
    extract = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    loud = 0.2 * AUDIO + 0.3
    prepared = extract(list(loud.numpy()), sampling_rate=16_000, return_tensors="pt").input_values
    found = built(replace(BASE, normalise=True))(loud)
    for output, expected in zip(found, built(BASE)(prepared), strict=True):
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    silence = built(replace(BASE, normalise=True))(torch.zeros(1, 4000))
    assert all(output.isfinite().all() for output in silence)


def fitted(state: dict[str, torch.Tensor]) -> HubertEncoder:
    """Another encoder, given these weights: strict, so that all names must be those it has."""
    encoder = BASE.build()
    encoder.load_state_dict(BASE.rename(state))
    return encoder


@torch.inference_mode()
def test_weights_load_by_every_name_that_they_have() -> None:
    encoder = built(BASE)
    own = encoder.state_dict()
    plain = {name.removeprefix("hubert."): value for name, value in own.items()}
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in plain.items()
    }
    assert set(old) & {"encoder.pos_conv_embed.conv.weight_g"}
    extra = {
        "lm_head.weight": torch.zeros(32, 16),
        "lm_head.bias": torch.zeros(32),
        "hubert.masked_spec_embed": torch.zeros(16),
    }
    for state in (own, plain, old, own | extra, plain | {"masked_spec_embed": torch.zeros(16)}):
        again = fitted(state)
        assert torch.equal(again(AUDIO)[-1], encoder(AUDIO)[-1])
    assert "hubert.quantizer.weight" in BASE.rename({"quantizer.weight": torch.zeros(1)})


def test_weights_of_a_recogniser_load(tmp_path: Path) -> None:
    """As transformers writes one."""
    settings = transformers.HubertConfig(
        **{name: value for name, value in BASE.to_json().items() if name != "normalise"}
    )
    recogniser = transformers.HubertForCTC(settings).eval()
    recogniser.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert {"lm_head.weight", "hubert.masked_spec_embed"} <= set(state)
    with torch.inference_mode():
        expected = recogniser.hubert(AUDIO).last_hidden_state
        torch.testing.assert_close(fitted(state)(AUDIO)[-1], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "names",
    [
        ("final_proj.weight", "final_proj.bias"),  # ContentVec's HubertModelWithFinalProj
        ("projector.weight", "projector.bias", "classifier.weight", "classifier.bias"),
        ("layer_weights",),
        ("label_embs_concat", "mask_emb"),
    ],
)
def test_heads_of_other_tasks_are_left_out(names: tuple[str, ...]) -> None:
    encoder = built(BASE)
    own = encoder.state_dict()
    plain = {name.removeprefix("hubert."): value for name, value in own.items()}
    for state in (own, plain):
        again = fitted(state | {name: torch.zeros(2) for name in names})
        with torch.inference_mode():
            assert torch.equal(again(AUDIO)[-1], encoder(AUDIO)[-1])


def test_weights_of_a_classifier_load(tmp_path: Path) -> None:
    """As transformers writes one."""
    fields = {name: value for name, value in BASE.to_json().items() if name != "normalise"}
    settings = transformers.HubertConfig(
        **fields, use_weighted_layer_sum=True, classifier_proj_size=8, num_labels=3
    )
    classifier = transformers.HubertForSequenceClassification(settings).eval()
    classifier.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert {"projector.weight", "classifier.weight", "layer_weights"} <= set(state)
    with torch.inference_mode():
        expected = classifier.hubert(AUDIO).last_hidden_state
        torch.testing.assert_close(fitted(state)(AUDIO)[-1], expected, atol=1e-5, rtol=1e-5)


def test_a_head_that_is_not_known_is_named_with_what_to_do() -> None:
    own = built(BASE).state_dict()
    with pytest.raises(TeacherError) as caught:
        state = BASE.rename(own | {"emotion_head.weight": torch.zeros(2)})
        fit_weights(BASE.build(), state, "model.safetensors")
    assert "and 1 more: hubert.emotion_head.weight" in str(caught.value)
    assert "remove them from the file" in str(caught.value)


def test_a_config_comes_back_from_json() -> None:
    for config in (BASE, LARGE):
        assert read_encoder(json.loads(json.dumps(config.to_json()))) == config


def test_defaults_are_those_of_transformers() -> None:
    """HuBERT base needs no field; what only training needs may be there."""
    theirs = transformers.HubertConfig().to_dict()
    assert read_encoder({}) == read_encoder(theirs) == HubertConfig()
    assert pretrained_fields(theirs | {"gradient_checkpointing": False}, {})["normalise"] is True
    assert not pretrained_fields(theirs, {"do_normalize": False})["normalise"]
    large = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    }
    found = read_encoder(large)
    assert (found.dim, found.layers, found.stride, found.first_centre) == (1024, 24, 320, 199.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hiden_size": 16, "dim": 3}, "encoder_config has dim, hiden_size, which no HuBERT has"),
        ({"hidden_size": 0}, "hidden_size is 0, expected a number above 0"),
        ({"hidden_size": 770}, "hidden_size is 770, expected a multiple of num_attention_heads"),
        ({"num_conv_pos_embedding_groups": 7}, "a multiple of num_conv_pos_embedding_groups, 7"),
        ({"num_hidden_layers": 1.5}, "num_hidden_layers is 1.5"),
        ({"conv_kernel": [10, 3]}, "conv_kernel is .10, 3., expected a list"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 0]}, "conv_stride is 0"),
        ({"conv_dim": []}, "conv_dim is .*, expected a list"),
        ({"conv_bias": 1}, "conv_bias is 1, expected true or false"),
        ({"normalise": None}, "normalise is None, expected true or false"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps is 'small'"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm is 'batch', expected 'group'"),
    ],
)
def test_a_config_that_cannot_be_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_encoder(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "wav2vec2"}, "model_type is 'wav2vec2', expected 'hubert'"),
        ({"model_type": "hubert", "adapter_attn_dim": 16}, "adapter_attn_dim is set"),
    ],
)
def test_another_folder_is_not_read(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pretrained_fields(fields, {})
