"""The denoiser is trained once, tokens are learned from it, and what is drawn is a function of the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.core.errors import BadInput, UnknownName
from workbench.models import resolve
from workbench.studies import personalise as study
from workbench.studies.token_gradients import gradient_quality
from workbench.tasks.base import Sizes
from workbench.tasks.digit_diffusion import NEW, DigitDiffusion
from workbench.tasks.drawing import STYLES, energy_distance
from workbench.tasks.new_digit import NewDigit

TINY = study.Preset("tiny-denoiser", 0.5, 4, ("backprop, fp32", "ZOODiP"), (0,))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINTPOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PINTPOT_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield study.bench_for(TINY, "this-host", "64 GiB")


def test_the_denoiser_is_trained_once_and_comes_from_its_folder(bench) -> None:
    said: list[str] = []
    assert study.trained_denoiser(TINY, said.append) == bench.model and said == []
    spec = resolve(bench.model)
    assert (spec.kind, spec.shape, spec.parameters) == ("image-denoiser", (1, 8, 8), 184_452)
    one, other = (spec.build(55, seed=seed) for seed in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))
    fresh = resolve("tiny-denoiser").build(55, seed=0)
    assert not torch.equal(one.tokens.weight[0], fresh.tokens.weight[0])


def test_tokens_are_kept_and_drawings_follow_from_them(bench) -> None:
    arms = study.arms_named(TINY.arms)
    found, again = (study.learned(bench, arms, TINY.seeds) for _ in range(2))
    assert [[r.id for r in a.records] for a in found] == [[r.id for r in a.records] for a in again]
    for one, other in zip(found, again):
        assert one.drawings.shape == (study.SHOWN, 8, 8) and one.drawings.dtype == np.uint8
        assert np.array_equal(one.drawings, other.drawings)
        assert all(r.predicted.peak == r.measured.peak for r in one.records), "predicted is measured, to the byte"
    backprop, ours = (a.records[0].measured for a in found)
    assert ours.saved == 0 < backprop.saved and 3 * ours.peak < backprop.peak
    assert not np.array_equal(found[0].drawings, study.untrained(bench)), "the token that was learned is the one drawn"
    assert study.examples(bench).shape == (study.SHOWN, 8, 8)


def test_curves_and_angles_are_measured(bench) -> None:
    curves = study.token_by_time(bench, others=2)
    assert len(curves.right) == len(curves.wrong) == len(study.TIMES) and min(curves.right) > 0
    rows = gradient_quality(bench, draws=4)
    values = [float(row["cosine"]) for row in rows]
    assert len(rows) == 4 and all(-1 <= v <= 1 for v in values) and values[2] <= 1


def test_asked_for_nonsense_nothing_is_trained() -> None:
    with pytest.raises(UnknownName, match="quick"):
        study.preset("quik")
    with pytest.raises(UnknownName, match="ZOODiP"):
        study.arms_named(["ZOODIP"])
    for values, field in (({"steps": -1}, "steps"), ({"pictures": 3}, "pictures"), ({"pictures": 10_000}, "train")):
        with pytest.raises(BadInput, match=field):
            study.bench_for(replace(TINY, epochs=1000.0), "this-host", "64 GiB", **values)
    with pytest.raises(BadInput, match="seeds"):
        study.learned(None, study.arms_named(["ZOODiP"]), [])


def test_every_preset_names_arms_that_exist() -> None:
    for preset in study.PRESETS.values():
        assert [a.label for a in study.arms_named(preset.arms)] == list(preset.arms)


def test_the_judge_the_school_and_the_token_see_different_pictures() -> None:
    album = NewDigit.album()
    assert (album.kinds[(album.token == 9 * STYLES) & ~album.judge] == NEW).all()
    spec = resolve("tiny-denoiser")
    new = NewDigit().load(spec, Sizes(), 0)
    known = DigitDiffusion().load(spec, Sizes(), 0)
    assert {e["kind"] for e in new.train} == {NEW} and NEW not in {e["kind"] for e in known.train}
    judged = {p.tobytes() for p in album.pictures[album.judge]}
    shown = {e["image"].tobytes() for data in (new, known) for e in data.train}
    assert not judged & shown


def test_one_distribution_is_at_distance_zero() -> None:
    numbers = torch.Generator().manual_seed(0)
    one, same, far = (torch.randn(300, 4, generator=numbers) + shift for shift in (0, 0, 2))
    assert abs(energy_distance(one, same)) < 0.05 < 1 < energy_distance(one, far)


@pytest.mark.parametrize("shape", ["[1, 8]", "[1, 7, 7]", "[1, -8, 8]"])
def test_a_folder_with_a_wrong_denoiser_is_refused(shape, tmp_path) -> None:
    config = (
        '{"model_type": "denoiser", "width": 64, "blocks": 3, "heads": 4, "inner": 128, "patch_size": 2, "shape": %s}'
    )
    (tmp_path / "config.json").write_text(config % shape)
    with pytest.raises(BadInput, match="model"):
        resolve(f"path:{tmp_path}")


def test_the_denoisers_own_drawings_are_judged_too(bench) -> None:
    assert 0 <= study.known_score(TINY) <= 1
