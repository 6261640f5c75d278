"""Small configurations of many transformers architectures: what ``any_model.py`` asks about."""

from __future__ import annotations

from typing import Any

_TOKENS = {"vocab_size": 512, "max_position_embeddings": 64}
_BERT = {
    **_TOKENS, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
}  # fmt: skip
_LLAMA = {**_BERT, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GEMMA = {**_LLAMA, "head_dim": 12, "query_pre_attn_scalar": 12}
_EXPERTS = {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}
_QWEN_EXPERTS = {**_LLAMA, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_T5 = {
    "vocab_size": 512, "d_model": 48, "d_kv": 12, "d_ff": 96, "num_layers": 2, "num_heads": 4, "pad_token_id": 0,
    "decoder_start_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
_BART = {
    **_TOKENS, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "pad_token_id": 1, "bos_token_id": 0,
    "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
_VIT = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
_STAGES = {"image_size": 64, "depths": [1, 1, 1, 1]}

#: Tokens or pixels a side, and the configuration beside its ``model_type``.
CONFIGURATIONS: dict[str, tuple[int, dict[str, Any]]] = {
    # encoders of text
    "albert": (24, {**_BERT, "embedding_size": 32}),
    "bert": (24, _BERT),
    "camembert": (24, {**_BERT, "max_position_embeddings": 66, "pad_token_id": 1}),
    "canine": (24, {**_BERT, "num_hash_buckets": 64, "downsampling_rate": 2, "local_transformer_stride": 8}),
    "deberta": (24, {**_BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "deberta-v2": (24, {**_BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 16}),
    "distilbert": (24, {**_TOKENS, "dim": 48, "n_layers": 2, "n_heads": 4, "hidden_dim": 96}),
    "electra": (24, {**_BERT, "embedding_size": 32}),
    "ernie": (24, _BERT),
    "funnel": (24, {"vocab_size": 512, "block_sizes": [1, 1], "d_model": 48, "n_head": 4, "d_head": 12, "d_inner": 96,
                    "architectures": ["FunnelModel"]}),
    "longformer": (32, {**_BERT, "max_position_embeddings": 66, "attention_window": 16, "pad_token_id": 1}),
    "megatron-bert": (24, _BERT),
    "modernbert": (24, {**_BERT, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "local_attention": 16}),
    "mpnet": (24, {**_BERT, "max_position_embeddings": 66, "pad_token_id": 1}),
    "roberta": (24, {**_BERT, "max_position_embeddings": 66, "pad_token_id": 1}),
    "squeezebert": (24, {**_BERT, "embedding_size": 48}),
    "xlm-roberta": (24, {**_BERT, "max_position_embeddings": 66, "pad_token_id": 1}),
    "xmod": (24, {**_BERT, "max_position_embeddings": 66, "pad_token_id": 1, "languages": ["en_XX", "de_DE"],
                  "default_language": "en_XX"}),
    # causal language models
    "bloom": (24, {"vocab_size": 512, "hidden_size": 48, "n_layer": 2, "n_head": 4}),
    "cohere": (24, _LLAMA),
    "falcon": (24, {"vocab_size": 512, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}),
    "gemma": (24, {**_LLAMA, "head_dim": 12}),
    "gemma2": (24, {**_GEMMA, "sliding_window": 16}),
    "gemma3_text": (24, {**_GEMMA, "sliding_window": 16}),
    "gpt2": (24, {"vocab_size": 512, "n_positions": 64, "n_embd": 48, "n_layer": 2, "n_head": 4}),
    "gpt_neo": (24, {**_TOKENS, "hidden_size": 48, "num_layers": 2, "num_heads": 4, "intermediate_size": 96,
                     "attention_types": [[["global", "local"], 1]], "window_size": 16}),
    "gpt_neox": (24, _BERT),
    "gptj": (24, {"vocab_size": 512, "n_positions": 64, "n_embd": 48, "n_layer": 2, "n_head": 4, "rotary_dim": 8}),
    "granite": (24, _LLAMA),
    "llama": (24, _LLAMA),
    "mamba": (24, {"vocab_size": 512, "hidden_size": 48, "state_size": 8, "num_hidden_layers": 2}),
    "mistral": (24, {**_LLAMA, "sliding_window": 16}),
    "mixtral": (24, _EXPERTS),
    "mpt": (24, {"vocab_size": 512, "d_model": 48, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}),
    "olmo2": (24, _LLAMA),
    "olmoe": (24, {**_QWEN_EXPERTS, "intermediate_size": 32}),
    "opt": (24, {**_TOKENS, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 96,
                 "word_embed_proj_dim": 48}),
    "phi": (24, _BERT),
    "phi3": (24, _LLAMA),
    "qwen2": (24, _LLAMA),
    "qwen2_moe": (24, {**_QWEN_EXPERTS, "shared_expert_intermediate_size": 32}),
    "qwen3": (24, {**_LLAMA, "head_dim": 12}),
    "qwen3_moe": (24, {**_QWEN_EXPERTS, "head_dim": 12}),
    "smollm3": (24, _LLAMA),
    "stablelm": (24, {**_LLAMA, "hidden_size": 64}),
    "starcoder2": (24, _LLAMA),
    # encoder and decoder
    "bart": (24, _BART),
    "marian": (24, _BART),
    "mbart": (24, _BART),
    "mt5": (24, _T5),
    "pegasus": (24, _BART),
    "t5": (24, _T5),
    # pictures
    "beit": (32, _VIT),
    "clip": (32, {"vision_config": _VIT, "text_config": _BERT, "projection_dim": 48}),
    "convnext": (64, {**_STAGES, "hidden_sizes": [16, 24, 32, 48]}),
    "convnextv2": (64, {**_STAGES, "hidden_sizes": [16, 24, 32, 48]}),
    "deit": (32, _VIT),
    "dinov2": (32, _VIT),
    "dinov2_with_registers": (32, _VIT),
    "dinov3_vit": (32, _VIT),
    "efficientnet": (64, {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320}),
    "focalnet": (64, {"image_size": 64, "embed_dim": 16, "depths": [1, 1], "focal_levels": [2, 2],
                      "focal_windows": [3, 3], "hidden_sizes": [16, 32]}),
    "mobilenet_v1": (64, {"image_size": 64, "depth_multiplier": 0.25}),
    "mobilenet_v2": (64, {"image_size": 64, "depth_multiplier": 0.25}),
    "mobilevit": (64, {"image_size": 64, "hidden_sizes": [24, 32, 48], "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 64],
                       "num_attention_heads": 4}),
    "poolformer": (64, {**_STAGES, "hidden_sizes": [16, 24, 32, 48]}),
    "pvt": (64, {**_STAGES, "hidden_sizes": [16, 24, 32, 48], "num_attention_heads": [1, 1, 2, 4]}),
    "regnet": (64, {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1],
                    "groups_width": 8}),
    "resnet": (64, {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1]}),
    "segformer": (64, {**_STAGES, "hidden_sizes": [16, 24, 32, 48], "num_attention_heads": [1, 1, 2, 4]}),
    "swin": (64, {"image_size": 64, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}),
    "swinv2": (64, {"image_size": 64, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}),
    "vit": (32, _VIT),
}  # fmt: skip
#: Kinds of model that are refused, each with one sentence.
OTHERS: dict[str, tuple[int, dict[str, Any]]] = {
    "wav2vec2": (32, {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}),
    "whisper": (32, {"d_model": 48, "encoder_layers": 1, "decoder_layers": 1}),
    "blip": (32, {}),
    "table-transformer": (32, {}),
}
