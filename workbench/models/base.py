"""What the workbench needs to know of a model before and after it exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Kind = Literal[
    "text-encoder", "causal-lm", "seq2seq-lm", "image-classifier", "sensor-classifier", "image-denoiser"
]  # fmt: skip
Modality = Literal["text", "image", "sensor"]

#: What a batch of each kind of model holds beside its labels.
INPUT_NAMES: Mapping[str, tuple[str, ...]] = {
    "text-encoder": ("input_ids", "attention_mask"),
    "causal-lm": ("input_ids", "attention_mask"),
    "seq2seq-lm": ("input_ids", "attention_mask", "decoder_input_ids"),
    "image-classifier": ("pixel_values",),
    "sensor-classifier": ("pixel_values",),
    "image-denoiser": ("pixel_values", "noise", "levels", "tokens"),
}

_MODALITIES: Mapping[str, Modality] = {
    "image-classifier": "image",
    "sensor-classifier": "sensor",
    "image-denoiser": "image",
}


@dataclass(frozen=True)
class ModelSpec:
    """A model by name; building it is the loader's work, reading this needs no torch.

    ``asset`` names the entry of the asset catalogue that holds the weights; empty means the model is made
    from configuration with seeded random weights. ``shape`` is what one example looks like: tokens for
    text, (channels, height, width) for images, (channels, samples) for sensors. ``config`` is the
    transformers configuration (or our own for convolutional nets) as plain data. ``position_table`` says that positions
    are looked up in a table of ``shape`` rows, so that what else stands in front of an example takes some of them.
    """

    name: str
    title: str
    kind: Kind
    parameters: int
    licence: str
    doc: str
    asset: str = ""
    shape: tuple[int, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    cost_only: bool = False
    position_table: bool = False

    @property
    def modality(self) -> Modality:
        modality: Modality = _MODALITIES.get(self.kind, "text")
        return modality

    @property
    def writes(self) -> bool:
        """Whether it ends in its own layer of logits over the vocabulary, so that no fresh head is put on it."""
        return self.kind in ("causal-lm", "seq2seq-lm")

    def build(self, classes: int | None, *, device: str = "cpu", weights: bool = True, seed: int = 0) -> nn.Module:
        """The module, with a head of ``classes`` outputs (``None``: a language-model head).

        ``device="meta"`` builds shapes only; ``weights=False`` skips the checkpoint. The module's forward
        takes the batch's input tensors by name and returns an object with ``.logits``. Whether the spec names
        weights, loaded or not, stands in its attribute ``pintpot_pretrained``.
        Raises ``ResourceMissing`` when weights are asked for and can be had neither from cache nor network.
        """
        from workbench.models.build import build

        return build(self, classes, device=device, weights=weights, seed=seed)

    def tokenizer(self) -> Any:
        """A transformers tokenizer for this model; raises ``ResourceMissing`` like :meth:`build`."""
        from workbench.models.build import tokenizer

        return tokenizer(self)
