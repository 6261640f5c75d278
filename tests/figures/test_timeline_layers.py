"""What each layer holds at any moment of a step: it sums to the categories, and thinning says that it thinned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import synthetic

from workbench import figures
from workbench.case import Case
from workbench.core.profile import MemoryProfile, Tier
from workbench.figures.timeline import MAX_LAYERS, MAX_MOMENTS, OTHER


@pytest.fixture(scope="module", params=["full", "lora", "mezo"])
def traced(request):
    return Case("tokens", "tiny-bert", request.param, 4, 12).predict(Tier.FAKE)


def by_category(held):
    split = Counter()
    for (_, category), size in held.items():
        split[str(category)] += size
    return +split


def test_modules_sum_to_the_categories_at_every_moment_of_the_trace(traced):
    moments = list(traced.held())
    assert len(moments) == len(traced.timeline) > MAX_MOMENTS
    for held, moment in zip(moments, traced.timeline):
        assert by_category(held) == +Counter({str(c): size for c, size in moment.live.items()})
    at_peak = max(range(len(moments)), key=lambda i: traced.timeline[i].total)
    by_module = Counter()
    for (module, _), size in moments[at_peak].items():
        by_module[module] += size
    assert by_module == Counter(traced.by_module), "the peak's own split by module"


def test_layers_sum_to_the_categories_at_every_shown_moment(traced):
    info = figures.one_step(traced)
    (step,) = info.steps
    assert len(step.events) == MAX_MOMENTS < step.recorded == len(traced.timeline)
    assert f"at {MAX_MOMENTS} moments" in info.caption and "after each event" not in info.caption
    for i in range(len(step.events)):
        assert by_category(step.held(i)) == +Counter({c: step.live[c][i] for c in info.categories})
    assert sum(step.held(step.peak_index).values()) + step.unplaced == step.peak


def test_a_stored_profile_is_the_same_and_one_from_before_tells_of_its_peak(traced):
    raw = traced.to_dict()
    assert MemoryProfile.from_dict(raw) == traced
    for moment in raw["timeline"]:
        del moment["changed"]
    old = MemoryProfile.from_dict({k: v for k, v in raw.items() if k != "modules"})
    (step,) = figures.one_step(old).steps
    assert step.layers == () and step.changes == ()
    assert sum(size for _, size in step.peak_layers) == old.peak


def test_many_layers_are_taken_together_and_none_is_left_out():
    profile = synthetic.profile("full", Tier.MEASURED, events=30)

    def spread(changed):
        """Each synthetic layer becomes nine blocks, of which one holds nearly everything."""
        for name, category, size in changed:
            for i in range(9):
                share = size - 8 * (size // 100) if i == 0 else size // 100
                yield f"{name.replace('layer.', 'layer_')}.{i}", category, share

    timeline = tuple(replace(m, changed=tuple(spread(m.changed))) for m in profile.timeline)
    (step,) = figures.one_step(replace(profile, timeline=timeline)).steps
    assert len(step.layers) == MAX_LAYERS and step.layers[-1] == OTHER
    for i, moment in enumerate(timeline):
        assert by_category(step.held(i)) == +Counter({str(c): s for c, s in moment.live.items()})
    assert step.recorded == len(step.events) == 30, "nothing to thin"


def test_bytes_that_no_event_explains_are_said():
    profile = synthetic.profile("full", Tier.MEASURED)
    (step,) = figures.one_step(replace(profile, peak=profile.peak + 4096)).steps
    assert step.unplaced == 4096
