"""The frozen prefix of a model is found by what trains."""

from __future__ import annotations

import pytest

from workbench.case import Case
from workbench.models.structure import blocks, prefix

TASKS = {"tiny-bert": "tokens", "tiny-llama": "tokens", "tiny-vit": "pixels", "tiny-cnn": "pixels"}


def _attached(model, method, **settings):
    return Case(TASKS[model], model, method, 2, settings=settings).attached(device="meta", weights=False)


@pytest.mark.parametrize("model", TASKS)
@pytest.mark.parametrize("trained", [1, 2])
def test_all_below_the_last_trained_blocks(model, trained):
    attached = _attached(model, "last-blocks", blocks=trained)
    found, all_blocks = prefix(attached), [m for _, m in blocks(attached)]
    assert list(found.blocks) == all_blocks[:-trained]
    held = {id(p) for m in found.modules for p in m.parameters()}
    below = {id(p) for p in attached.parameters()} - {id(p) for m in all_blocks[-trained:] for p in m.parameters()}
    assert held <= below
    assert found.stem, "embeddings or the first convolution"
    assert not any(p.requires_grad for m in found.modules for p in m.parameters())


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-llama", "tiny-vit", "tiny-cnn"])
def test_adapters_on_the_top_blocks_leave_the_others(model):
    attached = _attached(model, "lora", top_blocks=1, **({"targets": "linear"} if model == "tiny-cnn" else {}))
    assert len(prefix(attached).blocks) == len(blocks(attached)) - 1


@pytest.mark.parametrize("method", ["full", "bias", "lora"])
def test_none_where_the_first_block_trains(method):
    assert prefix(_attached("tiny-bert", method)) is None
