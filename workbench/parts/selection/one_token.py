"""Train one row of a denoiser's table of tokens and nothing else (textual inversion, Gal et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from workbench.core.errors import BadInput, Incompatible


class TokenTable(nn.Module):
    """A frozen table in whose row ``new`` stands ``token``, which trains; the row itself is zero."""

    def __init__(self, table: nn.Embedding, new: int, token: Tensor) -> None:
        super().__init__()
        self.table, self.new = table, new
        self.token = nn.Parameter(token)

    def forward(self, tokens: Tensor) -> Tensor:
        """Rows (batch, width) of ``tokens`` (batch,)."""
        return self.table(tokens) + (tokens == self.new)[:, None].to(self.token.dtype) * self.token


@dataclass(frozen=True)
class OneToken:
    """The last row of the table is the new token. ``word`` is the row it begins as; -1: the mean of all others.

    Training draws its times between ``low`` and ``high`` only (partial uniform timestep sampling; 0 to 1 is all).
    """

    word: int = -1
    low: float = 0.0
    high: float = 1.0

    def attach(self, model: nn.Module) -> nn.Module:
        table = getattr(model, "tokens", None)
        if not isinstance(table, nn.Embedding) or not hasattr(model, "window"):
            raise Incompatible("method", "one token", "the model has no table of tokens that says what is drawn")
        if not self.low < self.high:
            raise BadInput("timesteps_from", self.low, f"a time before timesteps_to, which is {self.high}")
        new = table.num_embeddings - 1
        if not -1 <= self.word < new:
            raise BadInput("word", self.word, f"a token from 0 to {new - 1} that the model knows, or -1 for their mean")
        model.requires_grad_(False)
        rows = table.weight.detach()
        begun = rows[:new].mean(0) if self.word == -1 else rows[self.word].clone()
        rows[new].zero_()
        model.tokens = TokenTable(table, new, begun)
        model.window = (self.low, self.high)  # type: ignore[assignment]
        return model
