"""A small perceptron trained by SGD: eager, as a captured graph, compiled, and by JAX. ``step.py`` runs it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

WIDTH, DEPTH, EXAMPLES, RATE = 384, 4, 32, 1e-3


def perceptron() -> tuple[torch.nn.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for _ in range(DEPTH):
        layers += [torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]), torch.randn(EXAMPLES, WIDTH), torch.randn(EXAMPLES, WIDTH)


def _squared(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return (model(batch["x"]) - batch["y"]).square().mean()


def torch_perceptron(kind: str, limit: float) -> Callable[[], Any]:
    """One SGD step of the perceptron: eager, as a graph, or compiled."""
    from workbench.engine.capture import capture
    from workbench.engine.executor import GraphExecutor
    from workbench.engine.inductor import InductorExecutor
    from workbench.engine.prune import prune
    from workbench.engine.schedule import schedule

    model, x, y = perceptron()
    batch = {"x": x, "y": y}
    if kind == "eager":
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, fused=True)

        def eager() -> None:
            _squared(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return eager
    if kind == "graph":
        run: Any = GraphExecutor(schedule(prune(capture(model, _squared, batch))), model)
    else:
        run = InductorExecutor(model, _squared, batch, limit=limit)
    return lambda: run(batch, lambda parameter, gradient: parameter.add_(gradient, alpha=-RATE))


def jax_perceptron() -> Callable[[], Any]:
    """The same step by JAX, jit with donated parameters. Raises ``ImportError`` where JAX is not installed."""
    import jax
    import jax.numpy as jnp

    model, x, y = perceptron()
    linears = [m for m in model if isinstance(m, torch.nn.Linear)]
    weights = [(jnp.array(m.weight.detach().numpy().T), jnp.array(m.bias.detach().numpy())) for m in linears]
    inputs, targets = jnp.array(x.numpy()), jnp.array(y.numpy())

    def loss(weights: Any) -> Any:
        h = inputs
        for i, (w, b) in enumerate(weights):
            h = h @ w + b
            h = h if i == DEPTH - 1 else jnp.maximum(h, 0)
        return jnp.mean((h - targets) ** 2)

    def update(weights: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(weights)
        return value, jax.tree.map(lambda w, g: w - RATE * g, weights, gradients)

    step = jax.jit(update, donate_argnums=0)
    held = [weights]

    def run() -> None:
        value, held[0] = step(held[0])
        value.block_until_ready()

    return run


def perceptrons(repeats: int, limit: float) -> Iterator[dict[str, Any]]:
    name = f"perceptron {DEPTH}x{WIDTH}, batch {EXAMPLES}, SGD"
    makers: dict[str, Callable[[], Callable[[], Any]]] = {
        "eager": lambda: torch_perceptron("eager", limit),
        "graph": lambda: torch_perceptron("graph", limit),
        "inductor": lambda: torch_perceptron("inductor", limit),
        "JAX, jit with donation": jax_perceptron,
    }
    runs: dict[str, Callable[[], Any]] = {}
    for label, make in makers.items():
        try:
            runs[label] = make()
            runs[label]()
        except (ImportError, RuntimeError) as error:
            yield {"model": name, "variant": label, "skipped": str(error).splitlines()[0][:300]}
            runs.pop(label, None)
    seconds: dict[str, list[float]] = {label: [] for label in runs}
    for _ in range(20 * repeats):
        for label, run in runs.items():
            started = time.process_time()
            run()
            seconds[label].append(time.process_time() - started)
    for label, found in seconds.items():
        yield {
            "model": name, "variant": label, "seconds": min(found), "median seconds": statistics.median(found),
            "ratio": min(seconds["eager"]) / min(found),
            "median ratio": statistics.median(seconds["eager"]) / statistics.median(found), "note": "",
        }  # fmt: skip
