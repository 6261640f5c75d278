"""A scheme trains what it names; the gradient there is full tuning's, and below it nothing is kept."""

import pytest
import torch

from workbench.core.errors import BadInput, UnknownName
from workbench.testing import Subject

MODELS = ("tiny-bert", "tiny-llama", "tiny-cnn", "tiny-vit")


def _trained(subject: Subject) -> set[str]:
    return {n for n, p in subject.attached().named_parameters() if p.requires_grad}


@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_of_full_tuning(gradients, model) -> None:
    full = gradients(Subject("full", model))
    sparse = gradients(Subject("sparse-update", model))
    assert sparse and set(sparse) < set(full)
    for name, gradient in sparse.items():
        torch.testing.assert_close(gradient, full[name], rtol=1e-5, atol=1e-8)


def test_the_default_scheme_of_a_bert() -> None:
    layer = "encoder.encoder.layer"
    trained = _trained(Subject("sparse-update", "tiny-bert"))
    assert f"{layer}.1.output.dense.bias" in trained and f"{layer}.0.output.dense.bias" not in trained
    assert f"{layer}.2.intermediate.dense.weight" in trained and f"{layer}.1.intermediate.dense.weight" not in trained
    assert f"{layer}.3.attention.self.query.weight" in trained
    assert not any("output.dense.weight" in n and "attention" not in n for n in trained)


def test_only_first_pointwise_convolutions_of_an_inverted_residual_train() -> None:
    trained = _trained(Subject("sparse-update", "tiny-cnn"))
    convolutions = {n for n in trained if "conv" in n and n.endswith(".weight")}
    assert convolutions and all("expand_conv" in n for n in convolutions)


def test_named_tensors_replace_the_scheme() -> None:
    name = "model.layers.2.mlp.up_proj.weight"
    assert _trained(Subject("sparse-update", "tiny-llama", {"tensors": name})) == {name}
    with pytest.raises(UnknownName, match="up_proj"):
        Subject("sparse-update", "tiny-llama", {"tensors": "model.layers.2.mlp.up_prj.weight"}).attached()


def test_a_shallower_scheme_keeps_less() -> None:
    def saved(depth: int) -> int:
        settings = {"bias_blocks": depth, "weight_blocks": depth}
        return Subject("sparse-update", "tiny-bert", settings, batch=16).case.predict().saved

    assert saved(1) < saved(2) < saved(4)


def test_bad_settings_are_one_sentence() -> None:
    with pytest.raises(BadInput, match="from 0 to 4"):
        Subject("sparse-update", "tiny-bert", {"bias_blocks": 9}).attached()
    with pytest.raises(BadInput, match="attention, expansion, depthwise, projection"):
        Subject("sparse-update", "tiny-bert", {"roles": "attention,expantion"}).case.config  # noqa: B018


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-cnn"])
def test_masking_after_computing_trains_alike_and_saves_nothing(model) -> None:
    """The lazy variant: the same weights after plain SGD steps, the activations and backward work of full tuning."""
    from workbench.lens.visited import visits

    sgd = {"optimizer": "sgd"}
    sparse, lazy = (Subject("sparse-update", model, {**sgd, "gradients": g}) for g in ("scheme", "all"))
    models = [subject.attached() for subject in (sparse, lazy)]
    losses = [subject.trained(m, 4, lr=1e-2)[1] for subject, m in zip((sparse, lazy), models)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    moved = dict(models[1].named_parameters())
    for name, parameter in models[0].named_parameters():
        torch.testing.assert_close(parameter.detach(), moved[name].detach(), rtol=1e-5, atol=1e-7, msg=name)
    full = Subject("full", model, sgd).case
    assert lazy.case.predict().saved == full.predict().saved > sparse.case.predict().saved
    assert visits(lazy.case).total("backward_flops") == visits(full).total("backward_flops")
