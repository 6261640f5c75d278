"""The models that ship: what they are, where their weights come from, their configuration as plain data.

Configurations stand here, not in the assets, so that a prediction needs no download. ``parameters`` counts the
model without its task head.
"""

from __future__ import annotations

from typing import Any

from workbench.models.base import ModelSpec

_SELF = "Apache-2.0 (this project)"


def _bert(vocabulary: int, hidden: int, layers: int, heads: int, inner: int, positions: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "max_position_embeddings": positions,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


def _llama(
    vocabulary: int, hidden: int, layers: int, heads: int, kv_heads: int, inner: int, positions: int, **more: Any
) -> dict[str, Any]:
    theta = more.pop("rope_theta", 10_000.0)
    return {
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": inner,
        "max_position_embeddings": positions,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        **more,
    }


#: One row per stage: expansion, kernel, stride of the first block, output channels, repeats.
_LITE0 = {
    "model_type": "efficientnet-lite",
    "stem": 32,
    "stem_stride": 2,
    "stages": (
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ),
    "head": 1280,
    "dropout": 0.2,
}
_TINY_CNN = {
    "model_type": "efficientnet-lite",
    "stem": 16,
    "stem_stride": 1,
    "stages": ((1, 3, 1, 16, 1), (4, 3, 2, 24, 2), (4, 3, 2, 40, 2)),
    "head": 96,
    "dropout": 0.0,
}
#: As in MobileNetV3, whose first stage is left at ReLU there; here all are hard-swish.
_TINY_HARDSWISH = {**_TINY_CNN, "activation": "hard-swish"}
#: Inverted residuals for a microcontroller: the widest map of one picture is 18 KiB in int8.
_MCU_NET = {
    "model_type": "efficientnet-lite",
    "stem": 16,
    "stem_stride": 2,
    "stages": ((1, 3, 1, 16, 1), (6, 3, 1, 24, 2), (6, 5, 2, 40, 3), (6, 3, 1, 56, 3)),
    "head": 192,
    "dropout": 0.0,
}
_MCU_WATCH = {
    "model_type": "efficientnet-lite",
    "signal": True,
    "stem": 16,
    "stem_stride": 2,
    "stages": ((1, 5, 1, 16, 1), (4, 5, 2, 24, 2), (4, 5, 2, 40, 2), (4, 3, 1, 56, 2)),
    "head": 128,
    "dropout": 0.0,
}
_TINY_VIT = {
    "model_type": "vit",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 16,
    "patch_size": 4,
    "num_channels": 3,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
_DINOV2 = {
    "model_type": "dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "image_size": 518,
    "patch_size": 14,
    "num_channels": 3,
}
#: A small diffusion transformer; what it can draw stands in a table of tokens, which is counted like a head.
_TINY_DENOISER = {"model_type": "denoiser", "width": 64, "blocks": 3, "heads": 4, "inner": 128, "patch_size": 2}
_SMALL_DENOISER = {"model_type": "denoiser", "width": 96, "blocks": 4, "heads": 4, "inner": 192, "patch_size": 4}
_TINY_SENSOR = {"model_type": "convolution-1d", "channels": 6, "widths": (32, 48, 64), "kernel": 5}

_MODELS = (
    ModelSpec(
        "minilm", "all-MiniLM-L6-v2", "text-encoder", 22_565_376, "Apache-2.0",
        "BERT of 6 layers and width 384, pretrained for sentence similarity; mean pooling, no pooler.",
        asset="minilm", shape=(512,), position_table=True, config=_bert(30_522, 384, 6, 12, 1536, 512),
    ),
    ModelSpec(
        "smollm2", "SmolLM2-135M-Instruct", "causal-lm", 134_515_008, "Apache-2.0",
        "Llama of 30 layers and width 576 with tied embeddings; dequantised from 4-bit weights, which is lossy.",
        asset="smollm2", shape=(8192,),
        config=_llama(
            49_152, 576, 30, 9, 3, 1536, 8192, rope_theta=100_000.0, tie_word_embeddings=True,
            bos_token_id=1, eos_token_id=2, pad_token_id=2,
        ),
    ),
    ModelSpec(
        "efficientnet-lite0", "EfficientNet-Lite0", "image-classifier", 3_371_008, "Apache-2.0",
        "Inverted residuals with ReLU6 and no squeeze-and-excitation, pretrained on ImageNet; 96 pixels by default.",
        asset="efficientnet-lite0", shape=(3, 96, 96), config=_LITE0,
    ),
    ModelSpec(
        "dinov2-small", "DINOv2-small backbone", "image-classifier", 22_056_576, "not stated by its packager",
        "Vision transformer of 12 layers and width 384; opt-in, because neither origin nor licence is stated.",
        asset="dinov2-small", shape=(3, 70, 70), config=_DINOV2,
    ),
    ModelSpec(
        "tiny-bert", "Tiny BERT from configuration", "text-encoder", 273_408, _SELF,
        "BERT of 4 layers and width 64 with random weights; for tests and quick runs.",
        shape=(128,), position_table=True, config=_bert(2048, 64, 4, 4, 128, 128),
    ),
    ModelSpec(
        "tiny-llama", "Tiny Llama from configuration", "causal-lm", 315_968, _SELF,
        "Llama of 4 layers and width 64 with tied embeddings and random weights; for tests and quick runs.",
        shape=(512,),
        config=_llama(
            2048, 64, 4, 4, 2, 176, 512, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0
        ),
    ),
    ModelSpec(
        "tiny-cnn", "Tiny inverted-residual net", "image-classifier", 36_736, _SELF,
        "Five inverted residuals at 16 pixels with random weights; for tests and quick runs.",
        shape=(3, 16, 16), config=_TINY_CNN,
    ),
    ModelSpec(
        "tiny-hardswish", "Tiny inverted-residual net with hard-swish", "image-classifier", 36_736, _SELF,
        "The tiny inverted-residual net with hard-swish for ReLU6, random weights; for tests and quick runs.",
        shape=(3, 16, 16), config=_TINY_HARDSWISH,
    ),
    ModelSpec(
        "tiny-vit", "Tiny vision transformer", "image-classifier", 138_304, _SELF,
        "ViT of 4 layers and width 64 at 16 pixels with random weights; for tests and quick runs.",
        shape=(3, 16, 16), config=_TINY_VIT,
    ),
    ModelSpec(
        "tiny-sensor", "Small 1-D convolutional net", "sensor-classifier", 24_432, _SELF,
        "Three convolutions over 6 channels of 100 samples, random weights; a microcontroller-sized classifier.",
        shape=(6, 100), config=_TINY_SENSOR,
    ),
    ModelSpec(
        "tiny-denoiser", "Tiny diffusion transformer", "image-denoiser", 184_452, _SELF,
        "Draws grey pictures of 8 pixels a side as one token says; random weights until it is trained here.",
        shape=(1, 8, 8), config=_TINY_DENOISER,
    ),
    ModelSpec(
        "small-denoiser", "Small diffusion transformer", "image-denoiser", 544_528, _SELF,
        "Draws grey pictures of 28 pixels a side as one token says; random weights until it is trained here.",
        shape=(1, 28, 28), config=_SMALL_DENOISER,
    ),
    ModelSpec(
        "mcu-net", "Inverted-residual net for a microcontroller", "image-classifier", 202_192, _SELF,
        "Nine inverted residuals on grey pictures of 28 pixels, random weights; in int8 it trains within 256 KB.",
        shape=(1, 28, 28), config=_MCU_NET,
    ),
    ModelSpec(
        "mcu-watch", "Inverted-residual net for sensor windows", "sensor-classifier", 81_616, _SELF,
        "Seven inverted residuals along 6 channels of 100 samples, random weights; in int8 it trains within 256 KB.",
        shape=(6, 100), config=_MCU_WATCH,
    ),
    ModelSpec(
        "llama-2-7b", "Llama 2 7B (shapes only)", "causal-lm", 6_738_415_616, "configuration only, no weights",
        "The published shape in bf16; answers what tuning it would cost, cannot be trained here.",
        shape=(4096,), cost_only=True,
        config=_llama(32_000, 4096, 32, 32, 32, 11_008, 4096, dtype="bfloat16", tie_word_embeddings=False),
    ),
    ModelSpec(
        "llama-3-70b", "Llama 3 70B (shapes only)", "causal-lm", 70_553_706_496, "configuration only, no weights",
        "The published shape in bf16; answers what tuning it would cost, cannot be trained here.",
        shape=(8192,), cost_only=True,
        config=_llama(
            128_256, 8192, 80, 64, 8, 28_672, 8192, rope_theta=500_000.0, dtype="bfloat16", tie_word_embeddings=False
        ),
    ),
)  # fmt: skip

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _MODELS}
