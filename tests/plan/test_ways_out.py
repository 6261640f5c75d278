"""Verdicts and ways out: each one verified, single changes first, and no pair where one is enough."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from workbench.case import Case
from workbench.cli.options import method_settings
from workbench.core.errors import BudgetExceeded, Incompatible
from workbench.core.profile import Tier
from workbench.core.units import format_size
from workbench.plan.fit_table import fit
from workbench.plan.refusal import ways_found, with_ways_out
from workbench.plan.ways import Patience, _Look, _singles, _together, fewest_recomputed, ways_out, with_batch


def test_every_way_fits_and_none_is_two_changes_where_one_is_enough(small):
    peak = small.predict(Tier.FAKE).peak
    changes = list(ways_out(small, int(peak * 0.9), Tier.FAKE, most=3))
    assert changes
    for change in changes:
        assert change.case.predict(Tier.FAKE).peak == change.peak <= int(peak * 0.9)
        assert " and " not in change.sentence
        assert change.case.method_name == small.method_name
        assert change.case.batch * change.case.accumulate == small.batch or change.case.config.update_in_backward


def test_two_changes_where_no_single_one_is_enough(small):
    budget = int(min(c.peak for c in _all_singles(small)) * 0.95)
    changes = list(ways_out(small, budget, Tier.FAKE))
    assert changes and all(" and " in c.sentence and c.peak <= budget for c in changes)


def test_a_pair_says_no_accumulation_that_it_does_not_do(small):
    single = next(s for s in _singles(small) if s[0] == "update in backward")
    peak = with_batch(single[1], 1).predict(Tier.FAKE).peak
    [change] = _together(small, _Look(peak, Tier.FAKE, Patience()), [single])
    assert (change.sentence, change.case.accumulate) == ("update in backward and batch 1", 1)


def test_no_more_blocks_are_recomputed_than_the_budget_asks_for():
    case = Case("tokens", "tiny-bert", "full", 8, 64)

    def peak(first):
        return Case("tokens", "tiny-bert", "full", 8, 64, settings={"recompute_first": first}).predict(Tier.FAKE).peak

    peaks = [case.predict(Tier.FAKE).peak, *(peak(first) for first in range(1, 5))]
    assert peaks[:4] == sorted(set(peaks[:4]), reverse=True)
    for first in range(1, 4):
        for budget in (peaks[first], peaks[first - 1] - 1):
            found = fewest_recomputed(case, budget, Tier.FAKE)
            assert (found.case.settings["recompute_first"], found.peak) == (first, peaks[first])
            assert found.sentence == f"recompute the first {first} of 4 blocks"
    assert fewest_recomputed(case, min(peaks) - 1, Tier.FAKE) is None
    offered = [c.case.settings.get("recompute_first") for c in ways_out(case, peaks[2], Tier.FAKE, most=20)]
    assert 2 in offered


def _all_singles(case):
    budget = case.predict(Tier.FAKE).peak - 1
    return list(ways_out(case, budget, Tier.FAKE, most=100))


def test_frozen_convolutions_that_keep_nothing_are_offered_where_there_are_any(small):
    case = Case("pixels", "tiny-cnn", "bias", 8, 16)
    budget = int(case.predict(Tier.FAKE).peak * 0.7)
    [change] = [c for c in ways_out(case, budget, Tier.FAKE, most=3) if "convolutions" in c.sentence]
    assert change.case.settings == {"lean_frozen": True} and change.peak <= budget
    full = Case("pixels", "tiny-cnn", "full", 8, 16, settings={"lean_frozen": True})
    with pytest.raises(Incompatible, match="no frozen"):
        full.predict(Tier.FAKE)
    assert not any("convolutions" in sentence for sentence, *_ in _singles(small))


def test_nothing_fits_in_almost_nothing(small):
    assert list(ways_out(small, 1000, Tier.FAKE)) == []


def test_a_step_that_asks_for_values_is_not_predicted(board, whimsical):
    verdict = fit([Case("tokens", "tiny-bert", whimsical, 2, 8)], board, 2**30, tier=Tier.FAKE)[0]
    assert verdict.fits == "not predicted" and "measure it" in verdict.reason
    verdict = fit([Case("tokens", "tiny-bert", "prefix-tuning", 2, 8)], board, 2**30, tier=Tier.FAKE)[0]
    assert verdict.fits == "does not apply"


def test_the_error_of_the_guard_gets_ways_out(small):
    limit = int(small.predict().peak * 0.9)
    bare = BudgetExceeded(operator="mm", module="x", category="workspace", asked=1, live=limit, limit=limit)
    named = with_ways_out(bare, small, seconds=300)
    assert named.suggestions and named.suggestions[0] in str(named)
    assert all(": --" in way for way in named.suggestions), "each with what to type"
    assert with_ways_out(named, small) is named


def test_a_way_out_followed_to_the_letter_fits(small):
    changed = [*_all_singles(small), *ways_out(small, int(small.predict(Tier.FAKE).peak * 0.7), Tier.FAKE)]
    assert any("batch" in change.sentence for change in changed)
    for change in changed:
        words = change.options.split()
        given = dict(zip(words[::2], words[1::2], strict=True))  # but for --set, which repeats
        settings = method_settings(small.method_name, [b for a, b in pairwise(words) if a == "--set"])
        batch, times = int(given.get("--batch", small.batch)), int(given.get("--accumulate", small.accumulate))
        typed = replace(small, batch=batch, accumulate=times, settings={**small.settings, **settings})
        assert typed == change.case and typed.predict(Tier.FAKE).peak == change.peak


def test_a_budget_below_the_need_of_the_head_alone_names_the_shortfall(small):
    need = replace(small, method_name="head", settings={}).predict(Tier.FAKE).peak
    assert "head alone" not in ways_found(small, need, seconds=300, tier=Tier.FAKE)[1]
    said = ways_found(small, need - 2048, seconds=300, tier=Tier.FAKE)[1]
    assert f"the head alone needs {format_size(need)}, 2.00 KiB more than the budget" in said


def test_the_head_alone_is_compared_with_the_levers_of_the_step(small):
    levers = {"saved": "int8", "weights": "nf4"}
    packed = replace(small, method_name="lora", settings={**levers, "r": 4})
    plain, need = (
        replace(small, method_name="head", settings=settings).predict(Tier.FAKE).peak for settings in ({}, levers)
    )
    assert need < plain < packed.predict(Tier.FAKE).peak
    assert "head alone" not in ways_found(packed, plain - 2048, seconds=300, tier=Tier.FAKE)[1]
    said = ways_found(packed, need - 2048, seconds=300, tier=Tier.FAKE)[1]
    assert f"the head alone needs {format_size(need)}, 2.00 KiB more than the budget" in said


def test_a_head_that_is_dearer_than_the_step_is_not_named(small):
    frugal = replace(small, method_name="mezo", settings={})
    peak = frugal.predict(Tier.FAKE).peak
    assert peak < replace(frugal, method_name="head").predict(Tier.FAKE).peak
    assert "head alone" not in ways_found(frugal, peak - 2048, seconds=300, tier=Tier.FAKE)[1]


@pytest.mark.parametrize("method", ["lora", "last-blocks"])
def test_less_is_tuned_where_only_that_helps(method):
    case = Case("tokens", "tiny-bert", method, 1, 8)
    profile = case.predict(Tier.FAKE)
    for change in ways_out(case, int(profile.peak * 0.97), Tier.FAKE, most=20):
        assert change.peak <= int(profile.peak * 0.97)
