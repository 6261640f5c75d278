"""Small models, steps and batches that the tests of the instrument share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = dict[str, Tensor]


class PlainStep:
    """Forward, backward and update over one batch or a list of micro-batches."""

    def __init__(self, model: nn.Module, make: Callable[[list], Any], loss: Callable[..., Tensor]) -> None:
        self.model, self.loss = model, loss
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizers = self.build(make)

    def build(self, make: Callable[[list], Any]) -> list[Any]:
        return [make(self.parameters)]

    def optimizer_state(self) -> Iterator[Tensor]:
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                yield from (v for v in state.values() if isinstance(v, Tensor))

    def __call__(self, batch: Any) -> Tensor:
        batches = batch if isinstance(batch, list) else [batch]
        for one in batches:
            loss = self.loss(self.model, one)
            if len(batches) > 1:
                loss = loss / len(batches)
            loss.backward()
        self.update()
        return loss.detach()

    def update(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


class ClippedStep(PlainStep):
    def update(self) -> None:
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        super().update()


class AutocastStep(PlainStep):
    def __call__(self, batch: Any) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = self.loss(self.model, batch)
        loss.backward()
        self.update()
        return loss.detach()


class InBackwardStep(PlainStep):
    """One optimizer per parameter, applied as soon as its gradient is complete."""

    def build(self, make: Callable[[list], Any]) -> list[Any]:
        own = {id(p): make([p]) for p in self.parameters}

        def update(parameter: Tensor) -> None:
            own[id(parameter)].step()
            parameter.grad = None

        for parameter in self.parameters:
            parameter.register_post_accumulate_grad_hook(update)
        return list(own.values())

    def update(self) -> None:
        pass


class ZerothOrderStep(PlainStep):
    """Two forward passes on perturbed weights; the noise is drawn again from its seed."""

    def __call__(self, batch: Any) -> Tensor:
        with torch.no_grad():
            self.perturb(1e-3)
            plus = self.loss(self.model, batch)
            self.perturb(-2e-3)
            minus = self.loss(self.model, batch)
            self.perturb(1e-3)
            self.perturb(-1e-6 * (plus - minus).item() / 2e-3)
        return plus

    def perturb(self, scale: float) -> None:
        generator = torch.Generator().manual_seed(7)
        for parameter in self.parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)


class Net(nn.Module):
    """Strided, pointwise and depthwise convolutions with batch norm and a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.point, self.norm2 = nn.Conv2d(16, 24, 1), nn.BatchNorm2d(24)
        self.depth, self.norm3 = nn.Conv2d(24, 24, 3, 1, 1, groups=24), nn.BatchNorm2d(24)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.norm1(self.stem(x)))
        x = F.silu(self.norm2(self.point(x)))
        x = x + F.hardswish(self.norm3(self.depth(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def net(device: str) -> nn.Module:
    with torch.device(device):
        return Net().train()


class Sparse(nn.Module):
    """A sparse factor, its entries out of order and one of them twice, and a sparse update of a dense weight."""

    def __init__(self) -> None:
        super().__init__()
        rows = torch.tensor([[3, 1, 2, 1, 0], [0, 1, 3, 1, 2]], device="cpu")
        self.register_buffer("places", rows)
        self.register_buffer("weight", torch.randn(12, 48))
        self.factor, self.update = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        factor = torch.sparse_coo_tensor(self.places, self.factor, (12, 12)).coalesce()
        weight = self.weight.clone()
        weight += torch.sparse_coo_tensor(self.places, self.update * 0.5, weight.shape)
        return torch.sparse.mm(factor, F.linear(x.flatten(1), weight).t()).t()


def sparse(device: str) -> nn.Module:
    with torch.device(device):
        return Sparse().train()


def frozen_net(device: str) -> nn.Module:
    model = net(device)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith(("norm3", "head"))
    return model


def channels_last_net(device: str) -> nn.Module:
    return net(device).to(memory_format=torch.channels_last)


def bert(device: str, dropout: float = 0.0, **settings: Any) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=120,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **settings,
    )
    with torch.device(device):
        return BertForSequenceClassification(config).train()


def dropping_bert(device: str) -> nn.Module:
    return bert(device, 0.1)


def eager_bert(device: str) -> nn.Module:
    return bert(device, 0.1, attn_implementation="eager")


def frozen_bert(device: str) -> nn.Module:
    model = bert(device)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "layer.1" in name or "classifier" in name
    return model


def lora_bert(device: str) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["query", "value"], lora_dropout=0.1, task_type="SEQ_CLS")
    return get_peft_model(bert(device), config)


def checkpointed(model: nn.Module) -> nn.Module:
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def checkpointed_bert(device: str) -> nn.Module:
    return checkpointed(bert(device, 0.1))


def tied_llama(device: str) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=120,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=80,
        tie_word_embeddings=True,
        use_cache=False,
    )
    with torch.device(device):
        return LlamaForCausalLM(config).train()


def checkpointed_llama(device: str) -> nn.Module:
    return checkpointed(tied_llama(device))


def tokens(batch: int = 8, length: int = 32, padded: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 120, (batch, length), generator=generator)
    mask = torch.ones_like(ids)
    if padded:
        mask[0, length // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(batch) % 2}


def padded_tokens() -> Batch:
    return tokens(padded=True)


def text(batch: int = 8, length: int = 32, padded: bool = False) -> Batch:
    found = tokens(batch, length, padded)
    return {**found, "labels": found["input_ids"].clone()}


def padded_text() -> Batch:
    return text(padded=True)


def two_batches() -> list[Batch]:
    return [tokens(4), tokens(4, padded=True)]


def three_texts() -> list[Batch]:
    return [text(4), text(4, padded=True), text(2)]


def two_image_batches() -> list[Batch]:
    return [images(3), images(2)]


def short_tokens() -> Batch:
    """No example is longer than a third of the length that all are padded to."""
    found = tokens(batch=6, length=48)
    found["attention_mask"][:, 16:] = 0
    return found


def cropped_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Cuts the batch to its longest example, and weighs it once more if any is padded: flow that the tokens decide."""
    longest = int(batch["attention_mask"].sum(1).max())
    kept = {name: t[:, :longest] if t.ndim == 2 else t for name, t in batch.items()}
    loss = model(**kept).loss
    if not kept["attention_mask"].all():
        loss = loss + model(**kept).loss
    return loss


def routed_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Only examples whose first logit is the larger one count: how many that are nobody knows beforehand."""
    logits = model(batch["x"])
    chosen = (logits[:, 0] > logits[:, 1]).nonzero().flatten()
    return logits[chosen].square().sum()


def images(batch: int = 4, side: int = 32) -> Batch:
    return {"x": torch.randn(batch, 3, side, side), "y": torch.arange(batch) % 4}


def image_loss(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch["x"]), batch["y"])


def model_loss(model: nn.Module, batch: Batch) -> Tensor:
    return model(**batch).loss


def adamw(**settings: Any) -> Callable[[list], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.AdamW(parameters, lr=1e-4, **settings)


def sgd(**settings: Any) -> Callable[[list], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(parameters, lr=1e-4, **settings)


class Case(NamedTuple):
    build: Callable[[str], nn.Module]
    batch: Callable[[], Any] = tokens
    optimizer: Any = adamw()
    step: type[PlainStep] = PlainStep
    loss: Callable[..., Tensor] = model_loss

    def make(self, model: nn.Module) -> PlainStep:
        return self.step(model, self.optimizer, self.loss)


CASES = {
    "full adamw": Case(bert),
    "full adamw foreach": Case(bert, optimizer=adamw(foreach=True)),
    "full adamw fused": Case(bert, optimizer=adamw(fused=True)),
    "full sgd": Case(bert, optimizer=sgd()),
    "full momentum": Case(bert, optimizer=sgd(momentum=0.9)),
    "clipped": Case(bert, step=ClippedStep),
    "autocast": Case(bert, step=AutocastStep),
    "padded": Case(bert, padded_tokens),
    "dropout padded": Case(dropping_bert, padded_tokens),
    "eager attention": Case(eager_bert, padded_tokens),
    "frozen lower layers": Case(frozen_bert),
    "lora": Case(lora_bert),
    "checkpointing": Case(checkpointed_bert, optimizer=sgd()),
    "accumulation": Case(bert, two_batches),
    "accumulated ties with checkpointing": Case(checkpointed_llama, three_texts),
    "accumulated dropout": Case(dropping_bert, two_batches),
    "cut to the longest example": Case(bert, short_tokens, loss=cropped_loss),
    "flow of a padded batch": Case(bert, padded_tokens, loss=cropped_loss),
    "zeroth order": Case(bert, step=ZerothOrderStep),
    "update in backward": Case(bert, step=InBackwardStep),
    "tied llama": Case(tied_llama, text),
    "tied llama padded": Case(tied_llama, padded_text, adamw(fused=True)),
    "llama checkpointing": Case(checkpointed_llama, text, sgd()),
    "net adamw": Case(net, images, loss=image_loss),
    "net accumulated": Case(net, two_image_batches, loss=image_loss),
    "sparse": Case(sparse, lambda: images(side=4), loss=image_loss),
    "net frozen": Case(frozen_net, images, loss=image_loss),
    "net zeroth order": Case(net, images, step=ZerothOrderStep, loss=image_loss),
    "net channels last": Case(channels_last_net, images, sgd(momentum=0.9), loss=image_loss),
}
