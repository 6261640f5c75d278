"""Conversions made once after download, so that what is loaded later is safetensors or plain arrays only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from workbench.assets.catalogue import Asset
from workbench.core.errors import ResourceMissing


def convert(asset: Asset, raw: Path, ready: Path) -> None:
    """Turn the verified files in ``raw`` into the finished asset in ``ready``."""
    _CONVERSIONS[asset.convert](asset, raw, ready)


def _gguf(asset: Asset, raw: Path, ready: Path) -> None:
    """Dequantise a GGUF language model to a bf16 safetensors folder with its tokenizer and chat template.

    Reading GGUF takes 20 s or more, reloading the converted folder a few seconds. Four-bit weights are lossy:
    the dequantised values are the base model that every comparison starts from.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    name = asset.files[0].name
    quiet = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        tokenizer = AutoTokenizer.from_pretrained(raw, gguf_file=name)
        # Without dequantize=True the model keeps a quantization_config and refuses to be saved.
        model = AutoModelForCausalLM.from_pretrained(
            raw, gguf_file=name, dtype=torch.float32, quantization_config=GgufConfig(gguf_file=name, dequantize=True)
        )
    finally:
        os.environ.pop("TQDM_DISABLE")
        if quiet is not None:
            os.environ["TQDM_DISABLE"] = quiet
    model.to(torch.bfloat16).save_pretrained(ready)
    tokenizer.save_pretrained(ready)


def _torch_state(asset: Asset, raw: Path, ready: Path) -> None:
    """A state dict saved by torch.save becomes safetensors; only tensors are unpickled."""
    import torch
    from safetensors.torch import save_file

    state = torch.load(raw / asset.files[0].name, map_location="cpu", weights_only=True)
    save_file({key: value.contiguous() for key, value in state.items()}, ready / "model.safetensors")


def _pickled_arrays(asset: Asset, raw: Path, ready: Path) -> None:
    """A pickled dict of recordings becomes an npz without pickles. The pickle runs only after its hash matched."""
    import numpy as np

    data = np.load(raw / asset.files[0].name, allow_pickle=True).item()
    recordings = [np.asarray(x, dtype=np.float32) for x in data["X"]]
    np.savez(
        ready / "recordings.npz",
        samples=np.concatenate(recordings),
        lengths=np.array([len(x) for x in recordings]),
        label=np.asarray(data["y"], dtype=np.int64),
        subject=np.asarray(data["subject"], dtype=np.int64),
        channels=np.array([str(c) for c in data["X_labels"]]),
        classes=np.array([str(c) for c in data.get("y_labels", [])]),
    )


def _onnx_dinov2(asset: Asset, raw: Path, ready: Path) -> None:
    """Name the anonymous weights of an exported DINOv2 backbone again and keep only the backbone."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise ResourceMissing(
            f"asset {asset.name} is an ONNX file and the onnx package is absent; run `pip install 'pintpot[vit]'`"
        ) from None
    import torch
    from safetensors.torch import save_file

    graph = onnx.load(str(raw / asset.files[0].name)).graph
    arrays = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    state = {name.removeprefix("backbone."): x for name, x in arrays.items() if name.startswith("backbone.")}
    added_to = {source: node for node in graph.node if node.op_type == "Add" for source in node.input}
    for node in graph.node:
        # The export transposed each linear weight and dropped its name; the bias added next still has one.
        if node.op_type != "MatMul" or node.input[1] not in arrays or node.output[0] not in added_to:
            continue
        biases = [name for name in added_to[node.output[0]].input if name.endswith(".bias") and name in arrays]
        if biases and biases[0].startswith("backbone."):
            weight = biases[0].removeprefix("backbone.").removesuffix("bias") + "weight"
            state[weight] = arrays[node.input[1]].T.contiguous()
    cls, grid = (arrays[name] for name in ("onnx::Concat_1957", "onnx::Reshape_1962"))
    hidden = cls.shape[-1]
    state["embeddings.position_embeddings"] = torch.cat([cls.reshape(1, 1, hidden), grid.reshape(1, -1, hidden)], 1)
    state["embeddings.mask_token"] = torch.zeros(1, hidden)
    renames = {f"attention.attention.{part}": f"attention.{part[0]}_proj" for part in ("query", "key", "value")}
    renames["attention.output.dense"] = "attention.o_proj"
    for old, new in renames.items():
        state = {key.replace(old, new): value for key, value in state.items()}
    save_file({key: value.contiguous() for key, value in state.items()}, ready / "model.safetensors")


_CONVERSIONS: dict[str, Callable[[Asset, Path, Path], None]] = {
    "gguf": _gguf,
    "torch-state": _torch_state,
    "pickled-arrays": _pickled_arrays,
    "onnx-dinov2": _onnx_dinov2,
}
