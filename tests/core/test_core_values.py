"""Sizes, seeds, errors, configs and registries: the values every layer shares."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.budget import Budget
from workbench.core.config import Config, setting, settings_of, validated
from workbench.core.errors import BadInput, BudgetExceeded, ManyBadInputs, UnknownName
from workbench.core.phase import in_phase, listening
from workbench.core.profile import Category, MemoryProfile, Phase, Tier
from workbench.core.registry import Registry
from workbench.core.seeds import derive
from workbench.core.units import format_exactly, format_size, parse_size


class Sample(Config):
    rate: float = setting(0.1, "a rate", gt=0, le=1)
    count: int = setting(3, "a count", ge=1, unit="steps")


@pytest.mark.parametrize(
    ("text", "size"),
    [("256MiB", 2**28), ("256 mib", 2**28), ("1.5 GB", 1_500_000_000), ("4096", 4096), (".5 KiB", 512), (7, 7)],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "nan", "inf", "12 parsecs", "", "MiB", "1e400", "1 2", 0, -3, math.nan, math.inf, True, "9" * 400],
)
def test_sizes_that_mean_nothing_are_refused(text: object) -> None:
    with pytest.raises(BadInput, match="budget"):
        parse_size(text)  # type: ignore[arg-type]


@given(st.integers(1, 2**50))
def test_a_printed_size_reads_back_within_its_digits(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.006)


@given(st.integers(1, 2**50) | st.integers(1, 10**4).map(lambda count: count * 10**9))
def test_an_exact_size_reads_back_to_the_byte(size: int) -> None:
    assert parse_size(format_exactly(size)) == size


@pytest.mark.parametrize("text", ["16GB", "256MiB", "1500MB", "1TiB", "1000KiB", "300kB", "12345"])
def test_an_exact_size_is_spelled_as_it_would_be_typed(text: str) -> None:
    assert format_exactly(parse_size(text)) == text


@given(st.integers(), st.text(max_size=8))
def test_streams_are_32_bit_and_repeatable(seed: int, name: str) -> None:
    assert derive(seed, name) == derive(seed, name)
    assert 0 <= derive(seed, name) < 2**32


def test_streams_differ() -> None:
    assert len({derive(seed, name, i) for seed in range(10) for name in ("a", "b") for i in range(50)}) == 1000


def test_a_budget_admits_up_to_its_limit() -> None:
    budget = Budget.parse("1KiB")
    assert budget.admits(1024) and not budget.admits(1025)
    assert Budget.parse(None).admits(2**60)


def test_a_config_says_every_problem_at_once() -> None:
    with pytest.raises(ManyBadInputs) as caught:
        validated(Sample, {"rate": 0.0, "count": "many", "cuont": 3}, "sample")
    text = str(caught.value)
    assert all(name in text for name in ("sample.rate", "sample.count", "cuont")) and "Nearest: count" in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.5", True, None])
def test_a_rate_has_to_be_a_finite_number(value: object) -> None:
    with pytest.raises(BadInput):
        validated(Sample, {"rate": value}, "sample")


def test_a_choice_that_was_found_at_run_time_is_refused_with_the_nearest() -> None:
    from workbench.methods.base import MethodConfig

    with pytest.raises(UnknownName, match=r"optimizer: 'sgdd' .*expected one of adamw, .*Nearest: sgd") as refused:
        validated(MethodConfig, {"optimizer": "sgdd"}, "full")
    assert "value error" not in str(refused.value)


def test_settings_carry_range_unit_and_meaning() -> None:
    rate, count = settings_of(Sample)
    assert (rate.low, rate.high, rate.doc, rate.default) == (0, 1, "a rate", 0.1)
    assert (count.type, count.low, count.high, count.unit) == ("int", 1, None, "steps")


def test_an_unknown_name_offers_the_nearest() -> None:
    registry: Registry[int] = Registry("thing", "workbench.recipes")
    registry.add("lora", 1)
    registry.add("full", 2)
    with pytest.raises(UnknownName, match="Nearest: lora"):
        registry.get("lorra")
    assert list(registry) == [2, 1] and "full" in registry and len(registry) == 2


def test_over_budget_says_who_asked_for_what() -> None:
    error = BudgetExceeded(
        operator="aten.mm", module="encoder.0", category="workspace", asked=2048, live=1024, limit=2048,
        suggestions=("batch 8 (1.00 KiB)",),
    )  # fmt: skip
    assert all(word in str(error) for word in ("aten.mm", "encoder.0", "2.00 KiB", "1.00 KiB", "batch 8"))
    assert error.exit_code == 3


def test_phases_nest_and_tell_listeners() -> None:
    heard: list[Phase | None] = []
    with listening(heard.append), in_phase(Phase.BACKWARD), in_phase(Phase.UPDATE):
        pass
    with in_phase(Phase.FORWARD):
        pass
    assert heard == [Phase.BACKWARD, Phase.UPDATE, Phase.BACKWARD, None]


def test_a_profile_survives_json() -> None:
    import json

    profile = MemoryProfile(
        Tier.PROBE, 30, Phase.BACKWARD, "aten.mm", "head", {Category.WEIGHTS: 10, Category.SAVED: 20},
        {Phase.BACKWARD: {Category.WEIGHTS: 10}}, {"head": 30}, {"head": 20}, (), {"packed weights": 5}, ("1 thread",),
    )  # fmt: skip
    assert MemoryProfile.from_dict(json.loads(json.dumps(profile.to_dict()))) == profile
    assert profile.binding_category is Category.SAVED
    assert "67%" in profile.sentence() and "saved for backward" in profile.sentence()
