"""A transformers backbone with a linear head, for text and for pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput, SequenceClassifierOutput


class TextClassifier(nn.Module):
    """Backbone, mean over the unmasked positions, linear head.

    The mask goes to the backbone as (batch, 1, 1, length) booleans: transformers would otherwise look at
    its values to decide whether it can be dropped, and the memory of a step would depend on the data.
    """

    def __init__(self, encoder: PreTrainedModel, classes: int) -> None:
        super().__init__()
        if not hasattr(encoder.config, "hidden_size"):
            raise ValueError("it does not say how wide its states are (hidden_size), so it takes no head")
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.config.hidden_size, classes, dtype=encoder.dtype)
        self.config = encoder.config
        self.config.num_labels = classes

    @property
    def is_gradient_checkpointing(self) -> bool:
        """peft reads this; where it is absent peft makes the embeddings require gradients."""
        return self.encoder.is_gradient_checkpointing

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    @property
    def dtype(self) -> torch.dtype:
        return self.encoder.dtype

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: Any = None,
        **unused: Any,
    ) -> SequenceClassifierOutput:
        """Logits of shape (batch, classes); ``labels`` of shape (batch,) add a mean cross-entropy."""
        inputs: dict[str, Any] = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
        if attention_mask is not None:
            wide = attention_mask.dim() == 2 and self.config._attn_implementation != "eager"
            inputs["attention_mask"] = attention_mask[:, None, None, :].bool() if wide else attention_mask
        if past_key_values is not None:
            inputs["past_key_values"] = past_key_values
        hidden = self.encoder(**inputs).last_hidden_state
        if attention_mask is None:
            pooled = hidden.mean(1)
        else:
            # With prefixes the mask is longer than the states; virtual prompt tokens count as positions.
            weight = attention_mask[:, -hidden.shape[1] :, None].to(hidden.dtype)
            pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        logits = self.classifier(pooled)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class ImageClassifier(nn.Module):
    """Picture model, mean over its last map or its patch tokens (a class token is left out), linear head."""

    is_gradient_checkpointing = False
    base_model_prefix = "encoder"  # where tuners look for the backbone of a transformers model

    def __init__(self, encoder: PreTrainedModel, classes: int, shape: tuple[int, ...]) -> None:
        """``shape`` of one picture: (channels, height, width)."""
        super().__init__()
        self.encoder = encoder
        self._class_token = any(n.rpartition(".")[2] == "cls_token" for n, _ in encoder.named_parameters())
        width = getattr(encoder.config, "hidden_size", None) or width_of(encoder, shape)
        self.classifier = nn.Linear(width, classes, dtype=encoder.dtype)
        self.config = encoder.config
        self.config.num_labels = classes

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **unused: Any) -> ImageClassifierOutput:
        """Logits of shape (batch, classes) from pictures of shape (batch, channels, height, width)."""
        hidden = self.encoder(pixel_values).last_hidden_state
        patches = hidden[:, 1:] if self._class_token and hidden.dim() == 3 else hidden
        logits = self.classifier(patches.mean((2, 3) if patches.dim() == 4 else 1))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


def width_of(encoder: PreTrainedModel, shape: tuple[int, ...]) -> int:
    """Channels of the features of a picture model whose configuration does not say it, found by a pass of shapes."""
    held = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in held.items()}
    training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad():
            pixels = torch.empty(1, *shape, device="meta", dtype=encoder.dtype)
            hidden = functional_call(encoder, shapes, (pixels,)).last_hidden_state
    except Exception as error:  # whatever a model says that is not given all it wants
        raise ValueError("it does not turn pictures alone into features") from error
    finally:
        encoder.train(training)
    return int(hidden.shape[1] if hidden.dim() == 4 else hidden.shape[-1])
