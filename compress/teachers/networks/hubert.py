"""The HuBERT speech encoder: raw 16 kHz audio to 50 feature frames a second.

W.-N. Hsu et al., *HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of
Hidden Units*, 2021, arXiv:2106.07447. Convolutions (total stride 320 samples), then a transformer
over the whole clip: transformers' own `HubertModel`, which is imported when one is built.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from compress.teachers.networks.encoders import check_counts, check_positive, receptive_field

# What transformers' feature extractor adds to the variance; silence stays silence.
_EPSILON = 1e-7


@dataclass(frozen=True)
class HubertConfig:
    """Sizes and kinds, by the names that transformers' `HubertConfig` has; the defaults are HuBERT
    base's.

    `normalise` is the `do_normalize` of a preprocessor_config.json: each clip is given zero mean
    and unit variance first. Raises `ValueError` for what cannot be.
    """

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    feat_extract_norm: str = "group"
    feat_extract_activation: str = "gelu"
    feat_proj_layer_norm: bool = True
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    conv_pos_batch_norm: bool = False
    do_stable_layer_norm: bool = False
    normalise: bool = True

    name: ClassVar[str] = "hubert"

    def __post_init__(self) -> None:
        for name in _COUNTS:
            check_counts(name, getattr(self, name))
        for name in _CONVOLUTIONS:
            value = getattr(self, name)
            if not isinstance(value, tuple) or not 0 < len(value) == len(self.conv_dim):
                raise ValueError(
                    f"{name} is {value!r}, expected a list with a number for each convolution, as "
                    f"long as conv_dim"
                )
            check_counts(name, *value)
        for name in _SWITCHES:
            if type(value := getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {value!r}, expected true or false")
        check_positive("layer_norm_eps", self.layer_norm_eps)
        if self.feat_extract_norm not in ("group", "layer"):
            raise ValueError(
                f"feat_extract_norm is {self.feat_extract_norm!r}, expected 'group' or 'layer'"
            )
        for name in ("num_attention_heads", "num_conv_pos_embedding_groups"):
            if self.hidden_size % (parts := getattr(self, name)):
                raise ValueError(
                    f"hidden_size is {self.hidden_size}, expected a multiple of {name}, {parts}"
                )

    @property
    def dim(self) -> int:
        return self.hidden_size

    @property
    def layers(self) -> int:
        return self.num_hidden_layers

    @property
    def stride(self) -> int:
        return receptive_field(self.conv_kernel, self.conv_stride)[1]

    @property
    def least_samples(self) -> int:
        return receptive_field(self.conv_kernel, self.conv_stride)[0]

    @property
    def first_centre(self) -> float:
        return (self.least_samples - 1) / 2

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def build(self) -> "HubertEncoder":
        return HubertEncoder(self)

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a `HubertModel`, new or old spelling of the weight norm.

        Left out is what stands on the encoder for pre-training, recognition or classification:
        the vector for masked frames, and heads.
        """
        renamed = {}
        for name, value in state.items():
            short = name.removeprefix("hubert.")
            if short.partition(".")[0] in _NOT_THE_ENCODER:
                continue
            for old, new in _SPELLINGS.items():
                if short.endswith(old):
                    short = short.removesuffix(old) + new
            renamed[f"hubert.{short}"] = value
        return renamed


_COUNTS = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("num_conv_pos_embeddings", "num_conv_pos_embedding_groups"),
)
_CONVOLUTIONS = ("conv_dim", "conv_kernel", "conv_stride")
_SWITCHES = (
    *("conv_bias", "feat_proj_layer_norm", "conv_pos_batch_norm", "do_stable_layer_norm"),
    "normalise",
)
# Top-level names in checkpoints of models that have a HuBERT inside.
_NOT_THE_ENCODER = {
    *("masked_spec_embed", "mask_emb"),  # frames that pre-training hides
    *("final_proj", "label_embs_concat"),  # pre-training; ContentVec keeps the first
    "lm_head",  # HubertForCTC
    *("projector", "classifier", "layer_weights"),  # HubertForSequenceClassification
}
_SPELLINGS = {
    "conv.weight_g": "conv.parametrizations.weight.original0",
    "conv.weight_v": "conv.parametrizations.weight.original1",
}


def read_encoder(fields: Mapping[str, Any]) -> HubertConfig:
    """The encoder that an `encoder_config` says. What only training needs may stand in it too."""
    known = {name: fields[name] for name in fields if name in HubertConfig.__dataclass_fields__}
    if unknown := set(fields) - set(known):
        unknown -= set(_transformers().HubertConfig().to_dict())
    if unknown:
        raise ValueError(
            f"encoder_config has {', '.join(sorted(unknown))}, which no HuBERT has; expected some "
            f"of {', '.join(HubertConfig.__dataclass_fields__)}"
        )
    tuples = {name: tuple(known[name]) for name in _CONVOLUTIONS if name in known}
    return HubertConfig(**(known | tuples))


def pretrained_fields(
    config: Mapping[str, object], preprocessor: Mapping[str, object]
) -> dict[str, object]:
    """The `encoder_config` of a Hugging Face folder."""
    if config.get("model_type") != HubertConfig.name:
        raise ValueError(f"model_type is {config.get('model_type')!r}, expected 'hubert'")
    if config.get("adapter_attn_dim") is not None:
        raise ValueError("adapter_attn_dim is set: adapters of a language are not read")
    fields = {name: config[name] for name in config if name in HubertConfig.__dataclass_fields__}
    # Where that file is missing or silent, transformers' feature extractor normalises.
    return fields | {"normalise": preprocessor.get("do_normalize", True)}


class HubertEncoder(nn.Module):
    """The encoder, giving every layer's output. Frozen: it is in evaluation mode always.

    The layers' outputs are those that transformers calls hidden states: the last one is not yet
    normalised where `do_stable_layer_norm` is set. The whole clip is seen by the attention, and by
    the group norm of HuBERT base: batch equal lengths only.
    """

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.normalise = config.normalise
        fields = {name: value for name, value in asdict(config).items() if name != "normalise"}
        transformers = _transformers()
        # Nothing is masked, nor any layer left out; without these two there is no masking vector.
        settings = transformers.HubertConfig(
            **fields, mask_time_prob=0.0, mask_feature_prob=0.0, attn_implementation="sdpa"
        )
        self.hubert = transformers.HubertModel(settings)
        self.eval()

    def train(self, mode: bool = True) -> "HubertEncoder":
        return super().train(False)

    def forward(self, audio: Tensor) -> list[Tensor]:
        """`[batch, samples]` at 16 kHz → each output, `[batch, frames, dim]`, the stem's first."""
        if self.normalise:
            variance, mean = torch.var_mean(audio, -1, correction=0, keepdim=True)
            audio = (audio - mean) / (variance + _EPSILON).sqrt()
        return list(self.hubert(audio, output_hidden_states=True).hidden_states)


def _transformers() -> Any:
    """The package, imported without torchao's remarks on CUDA libraries that a CPU build lacks."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import transformers

    return transformers
