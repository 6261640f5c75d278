"""The sentence says what the runs say and no more."""

import synthetic
from synthetic import MIB, run

from workbench import figures
from workbench.records.schema import State


def scored(method, values, **changes):
    return [
        run(method, s, score={"name": "accuracy", "value": v, "count": 600}, **changes) for s, v in enumerate(values)
    ]


def test_best_that_fits_with_interval_and_what_does_not_fit():
    said = figures.answer(synthetic.comparison())
    assert said.startswith("Under 256 MiB, lora scores best: 82.")
    assert "over 3 seeds" in said and "measured peak of" in said
    assert "Does not fit: full needs 362 MiB, 106 MiB too much (predicted), mostly optimizer state." in said


def test_overlapping_intervals_are_not_told_apart():
    said = figures.answer(scored("lora", [0.80, 0.82, 0.84]) + scored("bias", [0.79, 0.82, 0.83]))
    assert "not told apart at 95 % from bias" in said
    said = figures.answer(scored("lora", [0.900, 0.901, 0.902]) + scored("bias", [0.700, 0.701, 0.702]))
    assert "not told apart" not in said


def test_distance_to_full_tuning_is_paired_and_signed():
    runs = scored("full", [0.90, 0.91, 0.92]) + scored("lora", [0.85, 0.86, 0.87])
    said = figures.answer(runs, 256 * MIB)
    assert "lora scores best" in said and "5.0 points worse than full fine-tuning" in said
    runs = scored("full", [0.90, 0.91, 0.92]) + scored("lora", [0.91, 0.90, 0.92])
    assert "which does not settle it" in figures.answer(runs, 256 * MIB)


def test_lower_is_better():
    loss = {"name": "perplexity", "count": 100, "lower_is_better": True}
    runs = [run("lora", 0, score={**loss, "value": 9.0}), run("bias", 0, score={**loss, "value": 7.5})]
    assert "bias scores best: 7.5 perplexity" in figures.answer(runs)


def test_one_seed_says_so():
    said = figures.answer(scored("lora", [0.8]))
    assert "600 test examples of one seed" in said


def test_nothing_that_fits_and_no_runs():
    assert figures.answer([]) == "No runs yet, so there is no answer."
    said = figures.answer([run("full", 0, State.OVER_BUDGET, reason="stopped by the guard")])
    assert said.startswith("Under 256 MiB, no method that fits has a score.")
    assert "full needs 361 MiB, 105 MiB too much (predicted)" in said


def test_a_score_between_nought_and_one_is_per_cent_only_where_it_is_a_share():
    bits = {"name": "bits per byte", "count": 100, "lower_is_better": True, "share": False}
    runs = [run("full", s, score={**bits, "value": 0.80 + s / 100}) for s in range(2)]
    runs += [run("lora", s, score={**bits, "value": 0.834 + s / 100}) for s in range(2)]
    said = figures.answer(runs, 400 * MIB)
    assert "0.805 bits per byte" in said and "%" not in said.replace("95 %", "")
    lora = figures.answer([*runs[2:], *runs[:2]], 256 * MIB)
    assert "0.034 bits per byte worse than full fine-tuning" in lora
    assert figures.table(runs).rows[0]["score_text"].startswith("0.805 (")
    info = figures.pareto(runs)
    assert not info.share and "0.839 bits per byte" in info.alt and not figures.fit(runs).share
    assert figures.pareto(synthetic.comparison()).share
    [one] = figures.groups.group(runs[:1])
    assert one.interval.kind == "none", "no interval over examples where none was right or wrong"
