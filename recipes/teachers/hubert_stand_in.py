"""A Hugging Face HuBERT folder and the head of a Voice2Face beside it, with random weights."""

from pathlib import Path

import torch
from transformers import HubertConfig, HubertModel

from compress.rig.rig import ARKIT
from compress.teachers.networks.hubert import HubertConfig as Encoder
from compress.teachers.networks.voice2face import (
    HeadConfig,
    Voice2Face,
    Voice2FaceConfig,
    save_checkpoint,
)

SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": (64,) * 7,
}


def write(folder: Path) -> None:
    """``hubert/`` as `save_pretrained` writes it, and ``teacher/``: what a trained head comes as."""
    torch.manual_seed(0)
    HubertModel(HubertConfig(**SIZES)).save_pretrained(folder / "hubert")
    config = Voice2FaceConfig(
        controls=ARKIT,
        driven=tuple(name for name in ARKIT if name.startswith(("jaw", "mouth"))),
        constants={},
        rate_hz=60.0,
        head=HeadConfig(encoder_layers=(1, 2, 3), hidden=64, lstm=64, mesh=32),
        encoder_config=Encoder(**SIZES),
        encoder_weights="../hubert",
    )
    teacher = Voice2Face(config)
    with torch.no_grad():
        last = teacher.head.rig[-1]
        last.weight.mul_(8)  # random heads hardly move
        last.bias.fill_(0.3)
    save_checkpoint(teacher, folder / "teacher")
