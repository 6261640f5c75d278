"""Equal cost buys different numbers of steps; what is bought is trained, and prices are measured once."""

import pytest

import workbench as wb
from workbench import figures
from workbench.core.errors import BadInput, Incompatible, UnknownName
from workbench.predictions import counted
from workbench.studies.equal import equal, equal_grid, shares

WAYS = ("full", "last-blocks blocks=1")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path / "runs"))
    return wb.open("digits", "tiny-cnn", budget="1GiB", profile="quick", train=64, test=32)


def test_equal_work_is_equal_within_a_step(bench) -> None:
    flops = {way: counted(share.case).total_flops for way, share in zip(WAYS, shares(bench, WAYS, "flops", 1e12))}
    amount = 7.5 * flops["full"]
    bought = {share.way: share.steps for share in shares(bench, WAYS, "flops", amount)}
    assert bought["full"] == 7
    assert bought[WAYS[1]] > bought["full"]
    for way, steps in bought.items():
        assert steps * flops[way] <= amount < (steps + 1) * flops[way]


def test_what_is_bought_is_trained(bench) -> None:
    amount = 3.2 * counted(bench.case("full")).total_flops
    records = equal(bench, WAYS, "flops", amount, seeds=(0,))
    assert [r.planned_steps for r in records] == [s.steps for s in shares(bench, WAYS, "flops", amount)]
    assert [len(r.steps) for r in records] == [r.planned_steps for r in records]
    assert [r.config["blocks"] for r in records if r.method == "last-blocks"] == [1]


def test_times_are_measured_once(bench) -> None:
    first = shares(bench, WAYS, "time", 10.0)
    assert all(s.price.kind == "measured" and s.price.value > 0 for s in first)
    assert [s.price for s in shares(bench, WAYS, "time", 20.0)] == [s.price for s in first]


def test_bad_requests_are_one_sentence(bench) -> None:
    with pytest.raises(UnknownName, match="time"):
        shares(bench, WAYS, "tme", 1.0)
    with pytest.raises(BadInput, match="price of one step"):
        shares(bench, WAYS, "flops", 1.0)
    with pytest.raises(BadInput, match="above 0"):
        shares(bench, WAYS, "time", -1.0)
    with pytest.raises(UnknownName, match="full"):
        shares(bench, ("ful",), "time", 1.0)
    with pytest.raises(BadInput, match="name=value"):
        shares(bench, ("lora 8",), "time", 1.0)
    with pytest.raises(Incompatible):
        shares(bench, ("full chunked_loss=8",), "flops", 1e9)


def test_a_grid_of_equal_work_has_a_run_at_every_place(bench) -> None:
    """More probes buy fewer steps; an axis of one value is no axis, and one named twice counts once."""
    amount = 40.0 * counted(bench.case("mezo")).total_flops
    axes = {"probes": [1, 4, 1], "optimizer": ["sgd", "sign"], "lr": [1e-3]}
    points = equal_grid(bench, "mezo", axes, "flops", amount, (0,))
    assert [dict(p.at) for p in points] == [
        {"probes": q, "optimizer": rule} for q in (1, 4) for rule in ("sgd", "sign")
    ]
    for point in points:
        assert point.record.config["probes"] == point.at["probes"]
        assert point.record.config["optimizer"] == point.at["optimizer"]
        assert len(point.record.steps) == (40 if point.at["probes"] == 1 else 10)
    info = figures.grid(points)
    assert [axis.name for axis in info.axes] == ["probes", "optimizer"]
    assert info.missing == 0
    with pytest.raises(BadInput, match="probes"):
        equal_grid(bench, "mezo", {"probes": []}, "flops", amount)
