"""Verbs that answer without training: fit, predict, measure, plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli import options
from workbench.cli.printing import note, say, show_json, show_table
from workbench.cli.profiles import difference, profile_data, show_profiles, side_by_side
from workbench.cli.running import cancelling
from workbench.core.errors import Interrupted, one_of, together
from workbench.core.profile import MemoryProfile, Tier
from workbench.core.spelling import words
from workbench.core.units import format_energy, format_size, format_time

if TYPE_CHECKING:
    from workbench.devices.model import Device
    from workbench.plan.fit_table import Verdicts
    from workbench.plan.planned import Plan
    from workbench.records.schema import Quantity

Tiers = Annotated[str, typer.Option("--tier", help="probe (exact), formula, fake (no workspace), or auto.")]


def add_to(app: typer.Typer) -> None:
    app.command()(fit)
    app.command()(predict)
    app.command()(measure)
    app.command()(plan)


def tier_named(name: str) -> Tier | None:
    """The tier called ``name``; ``auto`` leaves the choice to the case."""
    known = {"auto": None, "probe": Tier.PROBE, "formula": Tier.FORMULA, "fake": Tier.FAKE}
    one_of("tier", name, known)
    return known[name]


def fit(
    task: options.Task = "",
    model: options.Model = "",
    device: options.Device = "this-host",
    budget: options.Budget = "",
    methods: Annotated[str, typer.Option(help="Comma-separated; all if empty.")] = "",
    batch: options.Batch = None,
    length: options.Length = None,
    tier: Tiers = "auto",
    step_times: Annotated[
        bool, typer.Option("--step-times", help="On this host: time each method's operators, seconds a method.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Every method on a device and budget: fits, fits if, cannot; does not fit while ways out are still looked for."""
    from workbench import request
    from workbench.bench import open as open_bench
    from workbench.plan.fit_table import fit as judge_all
    from workbench.plan.verdict import cases_for
    from workbench.progress import names

    asked = {"task": task, "model": model, "device": device, "budget": budget, "batch": batch, "length": length}
    chosen = words(methods)
    together(lambda: request.asked({**asked, "methods": chosen}), lambda: tier_named(tier))
    bench = open_bench(**asked)
    cases = cases_for(bench.task, bench.model, chosen, batch=bench.batch, length=length)
    with names("predicting", len(cases)) as progress:
        chosen_tier = tier_named(tier)
        verdicts = judge_all(
            cases, bench.device, bench.budget, tier=chosen_tier, step_times=step_times, progress=progress
        )
    if as_json:
        return show_json([v.to_dict() for v in verdicts])
    say(
        f"{bench.task} on {bench.model}, {bench.device.title}, budget {format_size(bench.budget)}, "
        f"batch {bench.batch}: {sum(v.fits == 'fits' for v in verdicts)} of {len(verdicts)} methods fit"
        f"{verdicts.on_the_device}."
    )
    rows = [
        (
            v.method,
            v.fits,
            "–" if v.peak is None else format_size(v.peak),
            v.binding or "–",
            format_time(v.step_time.value) if v.step_time else "–",
            format_energy(v.step_energy.value) if v.step_energy else "–",
            "; ".join([c.words for c in v.changes] or [v.reason]) + (f"; {v.note}" if v.note else ""),
        )
        for v in verdicts
    ]
    columns = ("method", "verdict", "predicted peak", "mostly", "step time*", "energy*", "why, or what to change")
    show_table("", columns, rows, "No methods.")
    say(f"* {_basis(verdicts, bench.device)}; see `pintpot devices show {bench.device.name}` for what it rests on.")
    if any(c.source == "fitted" for v in verdicts for c in v.changes):
        say("Peaks that are only fitted are told a little high; asked again they are predicted, as time allows.")
    return None


def _basis(verdicts: Verdicts, device: Device) -> str:
    """What the step times of a table rest on."""
    if any(v.step_time and v.step_time.kind == "predicted" for v in verdicts):
        return "predicted from operators timed on this host"
    from workbench.plan.verdict import timed_here

    answered = [v.step_time for v in verdicts if v.step_time]
    if answered and all(time.value is None for time in answered):
        return f"not known: {answered[0].note}"
    more = " (--step-times times each method's operators here instead)" if timed_here(device) else ""
    return f"extrapolated by roofline{more}"


def plan(
    task: options.Task = "",
    model: options.Model = "",
    device: options.Device = "this-host",
    budget: options.Budget = "",
    method: options.MethodName = "full",
    batch: options.Batch = None,
    length: options.Length = None,
    settings: options.Settings = None,
    approximate: Annotated[bool, typer.Option("--approximate", help="Packed and narrow numbers too.")] = False,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="A setting of the method to choose: NAME=VALUE,VALUE,...")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="speed, or quality gained per second in stored runs.")] = "speed",
    as_json: options.AsJson = False,
) -> None:
    """The fastest way to train a method within a budget: batch, accumulation, levers and settings, verified."""
    from workbench import request
    from workbench.bench import open as open_bench
    from workbench.progress import names

    asked = {"task": task, "model": model, "device": device, "budget": budget, "batch": batch, "length": length}
    _, axes, values, _ = together(
        lambda: request.asked({**asked, "method": method}, request.Asked),
        lambda: options.axes(vary or [], lambda found: request.axes_checked({**found, "method": [method]})),
        lambda: options.method_settings(method, settings),
        lambda: one_of("by", by, ["speed", "quality"]),
    )
    bench = open_bench(**asked)
    with cancelling() as cancel, names("sizing settings", None) as observe:
        found = bench.plan(
            method,
            approximate=approximate,
            vary=axes,
            by=by,
            observe=observe,
            cancel=cancel,
            **values,
        )
    if as_json:
        show_json(found.to_dict())
    else:
        _show_plan(found)
    if found.interrupted:
        raise Interrupted("stopped early: this is the best of what was looked at; the same command goes on from here")
    return


def _show_plan(found: Plan) -> None:
    say(found.sentence)
    rows = [
        ("predicted peak", f"{format_size(found.predicted.peak)} of {format_size(found.budget)}"),
        ("step time", _valued(found.step_time, format_time)),
        ("step energy", _valued(found.step_energy, format_energy)),
        ("throughput", _valued(found.throughput, lambda v: f"{v:.3g} examples/s")),
        ("what binds", found.binds),
        ("searched", found.searched),
        *(("or, with less", f"{o.words}: {format_size(o.peak)} at {o.speed:.0%} of the speed") for o in found.others),
    ]
    show_table("", ("", f"chosen by {found.objective}"), rows, "")
    if found.step_time.value is None:
        note(f"{found.step_time.note}.")
    if found.why_untrained:
        note(f"{found.why_untrained}.")
    say(found.command)


def _valued(quantity: Quantity, words: Callable[[float], str]) -> str:
    """A quantity with its kind, if it is known."""
    if quantity.value is None:
        return "not known"
    return f"{words(quantity.value)} ({quantity.kind})"


def _case(
    task: str, model: str, method: str, batch: int | None, length: int | None, accumulate: int, given: Any,
    tier: str, budget: str = "", padded: bool = False,
) -> tuple[Any, Tier | None]:  # fmt: skip
    """The case that a command line describes, and the tier it asks for; every problem with either at once."""
    from workbench.case import Case
    from workbench.models import resolve
    from workbench.request import Asked, asked
    from workbench.tasks.base import tasks

    values = {"task": task, "model": model, "method": method, "batch": batch, "length": length, "budget": budget}
    _, settings, chosen = together(
        lambda: asked({**values, "accumulate": accumulate}, Asked),
        lambda: options.method_settings(method, given),
        lambda: tier_named(tier),
    )
    if not task:
        task = "tokens" if resolve(model).modality == "text" else "pixels"
    size = batch if batch is not None else tasks.get(task).default_batch
    return Case(task, model, method, size, length, accumulate, settings, padded), chosen


def predict(
    model: options.Model,
    method: options.MethodName = "full",
    task: options.Task = "",
    batch: options.Batch = None,
    length: options.Length = None,
    accumulate: options.Accumulate = 1,
    padded: options.Padded = False,
    settings: options.Settings = None,
    tier: Tiers = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Memory of one training step, without running it."""
    case, chosen = _case(task, model, method, batch, length, accumulate, settings, tier, padded=padded)
    profile = case.predict(chosen)
    if as_json:
        return show_json({"case": case.identity(), "predicted": profile_data(profile)})
    show_profiles(case, {"predicted": profile})
    if (on_device := case.device_bytes()) is not None:
        note(f"On a device that runs the step without torch, one example a step: {format_size(on_device)} of SRAM.")
    return None


def measure(
    model: options.Model,
    method: options.MethodName = "full",
    task: options.Task = "",
    batch: options.Batch = None,
    length: options.Length = None,
    accumulate: options.Accumulate = 1,
    padded: options.Padded = False,
    settings: options.Settings = None,
    budget: options.Budget = "",
    tier: Tiers = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Run the step on random weights and print prediction beside measurement; exit 3 when the budget refuses it."""
    from workbench.core.errors import BudgetExceeded, Incompatible
    from workbench.core.units import parse_size
    from workbench.environment import new_id, now
    from workbench.memory.measure import measure as measure_step
    from workbench.plan.refusal import with_ways_out
    from workbench.predictions import recent_log
    from workbench.records.measurements import keep

    case, chosen = _case(task, model, method, batch, length, accumulate, settings, tier, budget, padded)
    limit = parse_size(budget) if budget else None
    if case.spec.cost_only:
        raise Incompatible("model", model, "it is known by its shapes only; `pintpot predict` answers for it")
    predicted = _prediction(case, chosen)
    step = case.step(case.attached(weights=False))
    try:
        measured = measure_step(step, case.example(), budget=limit, log=recent_log(case), others=True)
    except BudgetExceeded as error:
        raise with_ways_out(error, case) from None
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        if predicted is not None or "allocate memory" in str(error):
            raise
        words = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        reason = f"its step fails on this model and shape: {words}"
        raise Incompatible("method", method, reason) from error
    if predicted is not None and (lost := keep(new_id(), now(), _named(case), predicted, measured)):
        note(f"not kept: {lost}")
    if as_json:
        return show_json({"case": case.identity(), **side_by_side(predicted, measured)})
    if predicted is None:
        show_profiles(case, {"measured": measured})
        return None
    show_profiles(case, {"predicted": predicted, "measured": measured})
    note(difference(predicted, measured))
    return None


def _named(case: Any) -> dict[str, Any]:
    """What the ledger of errors says of a case."""
    names = {"task": case.task_name, "model": case.model_name, "method": case.method_name}
    return {**names, "batch": case.batch, "accumulate": case.accumulate, "length": case.length,
            "config": {**case.settings, **({"padded": True} if case.padded else {})}}  # fmt: skip


def _prediction(case: Any, tier: Tier | None) -> MemoryProfile | None:
    """The prediction; a step that only a measurement can answer for has none, and is said to."""
    from workbench.core.errors import Incompatible

    try:
        profile: MemoryProfile = case.predict(tier)
        return profile
    except Incompatible as error:
        if error.field != "prediction":
            raise
        note(f"not predicted: {error.reason}")
        return None
