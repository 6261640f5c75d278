"""DoRA: LoRA on the direction of each weight, with a trained magnitude; a flag of peft's LoRA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.core.card import Card
from workbench.methods._peft_source import tuners
from workbench.methods.base import methods
from workbench.methods.peft_tuners import PeftMethod

if TYPE_CHECKING:
    from workbench.parts.base import Parts


class DoRA(PeftMethod):
    """LoRA of peft with ``use_dora`` set."""

    def parts(self, config: Any) -> Parts:
        return super().parts(config.model_copy(update={"use_dora": True}))


for _tuner in tuners():
    if _tuner.name == "lora":
        _method = DoRA(_tuner)
        _method.name = "dora"  # type: ignore[misc]
        _method.card = Card(  # type: ignore[misc]
            title="DoRA",
            family="adapters",
            paper="DoRA: Weight-Decomposed Low-Rank Adaptation (2024)",
            summary="Split each weight into magnitude and direction; LoRA moves the direction.",
            saves="Gradients and optimizer state; keeps more activations than LoRA for the normalised weight.",
            when="LoRA at a small rank falls short of full fine-tuning.",
            equation="W' = m (W + B A) / ||W + B A||",
        )
        methods.add("dora", _method)
