"""ZeroQAT: train through a quantizer with forwards only, so that rounding needs no made-up derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, OptimizerName, optimizer_rules, register

if TYPE_CHECKING:
    from torch import nn

    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts

PACKED = 8  #: most bits of a weight that is packed


class ZeroQATConfig(MethodConfig):
    optimizer: OptimizerName = setting("sgd", "update rule", choices=optimizer_rules())
    lr: float = setting(1e-5, "peak learning rate", gt=0, le=10)
    gradient: Literal["two-sided", "one-sided", "own"] = setting(
        "two-sided", "slope of the quantized loss along random noise; own: straight-through backpropagation (plain QAT)"
    )
    weight_bits: int = setting(4, "width of weights; 16 is as good as none", ge=2, le=16, unit="bits")
    activation_bits: int = setting(8, "width of the inputs of linear layers, by token", ge=2, le=16, unit="bits")
    scales: Literal["learned", "moving", "fixed", "rounded"] = setting(
        "learned",
        "a weight's range: its extremes times a trained clip, its extremes, those it was loaded with, "
        "or those with the weight rounded once and for all, so that small noise changes no integer",
    )
    transform: bool = setting(False, "train a factor by input channel that moves range from inputs to weights")
    tuned_blocks: int = setting(
        0, "deepest blocks that train, the frozen rest packed; 0: everything trains", ge=0, le=200, unit="blocks"
    )


@register
class ZeroQAT(Method):
    name = "zeroqat"
    card = Card(
        title="ZeroQAT (quantization-aware by forwards)",
        family="forward-only",
        paper="End-to-End On-Device Quantization-Aware Training for LLMs at Inference Cost (2025)",
        summary="Perturb float weights, quantize, run forward twice, and step along the slope of the quantized loss.",
        saves="Gradients, optimizer state and saved activations; with few tuned blocks also weights, packed in bits.",
        when="The model will run at 2 to 8 bits, rounding alone loses too much, and no backward pass fits.",
        equation="g = (L(Q(w + eps z)) - L(Q(w - eps z))) / (2 eps);  w <- w - lr g z;  clips and scales likewise",
    )
    Config = ZeroQATConfig

    def refuses(self, model: ModelSpec, config: ZeroQATConfig) -> str | None:
        return self._clash(config) or super().refuses(model, config)

    def _clash(self, config: ZeroQATConfig) -> str | None:
        """One sentence on settings that contradict each other."""
        if config.tuned_blocks and config.weight_bits > PACKED:
            return f"frozen weights are packed in 2 to {PACKED} bits; set weight_bits to that or tuned_blocks to 0"
        if config.transform and config.scales in ("fixed", "rounded"):
            return f"scales={config.scales} leaves no room for a transform that moves the ranges; set transform=False"
        if config.weights in ("bf16", "nf4", "frozen-int8", "prefix-int8"):
            return f"linear weights are quantized by this method already, so weights={config.weights} would round twice"
        return None

    def parts(self, config: ZeroQATConfig) -> Parts:
        from workbench.core.errors import Incompatible
        from workbench.nn.quantized_linear import Bits
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.selection.last_blocks import LastBlocks
        from workbench.parts.storage.quantized import Quantized

        if reason := self._clash(config):
            raise Incompatible("method", self.name, reason)
        selection = LastBlocks(config.tuned_blocks) if config.tuned_blocks else All()
        bits = Bits(config.weight_bits, config.activation_bits, config.scales, config.transform)
        return Parts(selection, Backprop(), named(config.optimizer), Quantized(bits))

    def adapter_state(self, model: nn.Module) -> dict[str, Any]:
        """What trains, and the channel factors it was calibrated with."""
        smooth = {n: b.detach() for n, b in model.named_buffers() if n.endswith(".smooth")}
        return {**super().adapter_state(model), **smooth}
