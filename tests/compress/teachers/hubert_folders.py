"""A small HuBERT as Hugging Face keeps it, and a reference teacher's folder that names it."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from compress.rig.rig import ARKIT
from compress.teachers.networks.hubert import HubertConfig
from compress.teachers.networks.voice2face import (
    HeadConfig,
    Voice2Face,
    Voice2FaceConfig,
    save_checkpoint,
)

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


def write_hubert(
    folder: Path, seed: int = 3, kind: str = "HubertModel", normalise: bool = True, **fields: Any
) -> Any:
    """Saves and returns transformers' model; the folder is `folder`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = transformers.HubertConfig(**(SMALL | fields))
        model = getattr(transformers, kind)(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalise}))
    return model


def as_pickle(folder: Path) -> None:
    """Weights as older folders have them: pytorch_model.bin instead of safetensors."""
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def untrained(encoder_weights: str | None, **fields: Any) -> Voice2Face:
    """A teacher of ARKit's 52 controls with a random head that moves."""
    config = Voice2FaceConfig(
        controls=ARKIT,
        driven=tuple(name for name in ARKIT if name.startswith(("jaw", "mouth"))),
        constants={"eyeBlinkLeft": 0.125},
        rate_hz=30.0,
        head=HeadConfig(encoder_layers=(0, 2), hidden=8, lstm=8, mesh=8),
        limits=(-10.0, 10.0),
        encoder_config=HubertConfig(**(SMALL | fields)),
        encoder_weights=encoder_weights,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        teacher = Voice2Face(config).eval()
        with torch.no_grad():
            teacher.get_parameter("head.rig.2.weight").mul_(20)
    return teacher


def write_reference(folder: Path, encoder_weights: str | None, brief: bool = True) -> Voice2Face:
    """Saves that teacher; a `brief` config leaves to the Hugging Face folder what the encoder is."""
    teacher = untrained(encoder_weights)
    save_checkpoint(teacher, folder)
    if encoder_weights is not None and brief:
        change_config(folder, encoder_config=None)
    return teacher


def change_config(folder: Path, **fields: Any) -> None:
    """Other values in a folder's config.json; None takes one out."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) | fields
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}), "utf-8")
