"""What the map says is kept is what autograd keeps on a real step, and what the same case predicts."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

import workbench as wb
from workbench.core.errors import BadInput, UnknownName
from workbench.core.profile import Tier
from workbench.lens.saved_map import kind_of, saved_map, usual_levers, usual_ways
from workbench.memory.step import tensors_in


@pytest.fixture(scope="module")
def pictures():
    return saved_map(wb.open("pixels", "tiny-cnn", batch=4), ["full", "bias", "head"], {"lean_frozen": [False, True]})


@pytest.fixture(scope="module")
def words():
    bench = wb.open("tokens", "tiny-bert", batch=4, length=16)
    return saved_map(bench, ["full", "last-blocks blocks=1"], {"recompute": [0, 1], "saved": ["as-is", "int8"]})


def hooked(case) -> int:
    """Bytes that hooks see saved on a real step, each storage once, without the model and the batch."""
    model, batch = case.attached(weights=False), case.example()
    step = case.step(model)
    held = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers(), *tensors_in(batch))}
    seen: dict[int, torch.UntypedStorage] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in held:
            seen[storage._cdata] = storage  # held on to, so that no address is used twice
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        step(batch, seed=0)
    return sum(storage.nbytes() for storage in seen.values())


@pytest.mark.parametrize("way", ["full", "bias", "head"])
def test_a_convolutional_net_keeps_what_autograd_saves(pictures, way) -> None:
    assert pictures.state(way).total == pytest.approx(hooked(pictures.bench.case(way)), rel=0.02)


def test_a_transformer_keeps_what_autograd_saves(words) -> None:
    case = words.bench.case("last-blocks", blocks=1)
    assert words.state("last-blocks blocks=1").total == pytest.approx(hooked(case), rel=0.02)


def test_every_combination_is_the_prediction_of_its_own_case(words) -> None:
    for recompute in (0, 1):
        for saved in ("as-is", "int8"):
            state = words.state("last-blocks blocks=1", recompute=recompute, saved=saved)
            case = words.bench.case("last-blocks", blocks=1, recompute=recompute, saved=saved)
            assert state.total == case.predict(Tier.FAKE).saved > 0
    # Sizes of single toggles do not multiply, which is why each combination is traced.
    full = {(r, s): words.state("full", recompute=r, saved=s).total for r in (0, 1) for s in ("as-is", "int8")}
    assert full[1, "int8"] < min(full[0, "int8"], full[1, "as-is"])
    assert full[1, "int8"] * full[0, "as-is"] != full[1, "as-is"] * full[0, "int8"]


def test_freezing_convolutions_and_norms_drops_no_input(pictures) -> None:
    full, bias, lean = pictures.state("full"), pictures.state("bias"), pictures.state("bias", lean_frozen=True)
    assert bias.total == full.total and bias.beside["gradients"] < full.beside["gradients"] / 4
    assert lean.total < 0.8 * bias.total and lean.gradients == bias.gradients
    refused = pictures.state("full", lean_frozen=True)
    assert (refused.total, refused.flops) == (0, 0) and "no frozen" in refused.reason


def test_recomputing_costs_a_forward_and_packing_none(words) -> None:
    plain, packed = words.state("full"), words.state("full", saved="int8")
    assert packed.flops == plain.flops < words.state("full", recompute=1).flops < 1.4 * plain.flops
    assert {kind for _, kind in packed.kept} >= {"packed or cast", "norms"}


def test_what_stands_beside_it_is_all_of_it(words) -> None:
    model = words.bench.case("full").attached(device="meta", weights=False)
    trained = sum(p.numel() * p.element_size() for p in model.parameters())
    beside = words.state("full").beside
    assert beside["gradients"] == sum(words.state("full").gradients.values()) == trained <= beside["weights"]
    assert 2 * trained <= beside["optimizer state"] < 2.02 * trained
    # A step's moments of most bytes do not show it: the embedding's gradient comes last and goes first.
    assert words.state("full", recompute=1).beside == beside


def test_what_is_asked_for_is_known_or_refused_in_a_sentence(words) -> None:
    bench = words.bench
    assert usual_levers(bench).keys() == {"recompute", "saved"}
    assert usual_levers(wb.open("pixels", "tiny-cnn", batch=4)).keys() == {"lean_frozen", "bit_masks", "saved"}
    assert usual_ways(bench)[:3] == ("full", "last-blocks blocks=2", "last-blocks blocks=1")
    with pytest.raises(UnknownName, match="recompute"):
        saved_map(bench, ["full"], {"recomputed": [1]})
    with pytest.raises(BadInput, match="at least one value"):
        saved_map(bench, ["full"], {"recompute": []})
    with pytest.raises(UnknownName, match="full"):
        words.state("ful")
    with pytest.raises(UnknownName, match="int8"):
        words.state("full", saved="int4")


def test_kinds_are_read_off_the_operator() -> None:
    assert kind_of("_scaled_dot_product_flash_attention_for_cpu") == "products and convolutions"
    assert kind_of("pintpot::extra_product") == "products and convolutions"
    assert kind_of("mul_.Scalar") == "sums and scalings" and kind_of("silu_") == "activations and softmax"
