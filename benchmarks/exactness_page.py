"""The page of the documentation that says how far prediction and measurement agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Row = dict[str, Any]

COMMANDS = """OMP_NUM_THREADS=1 python benchmarks/exactness.py --models all
OMP_NUM_THREADS=1 python benchmarks/exactness.py --models all --optimizers RULE,RULE,... [--together]
OMP_NUM_THREADS=1 python benchmarks/exactness.py --models tiny --levers
OMP_NUM_THREADS=1 python benchmarks/exactness.py --without-probe
OMP_NUM_THREADS=1 python benchmarks/exactness.py --draw 300"""

#: Models whose tiers without the probe are judged: the target without the probe is for transformers.
TRANSFORMERS = ("tiny-bert", "tiny-llama", "tiny-vit", "minilm", "smollm2", "dinov2-small")
TARGET = 0.01  #: largest relative error of the formula tier on them
NAMES = ("key", "model", "method", "optimizer", "batch", "length", "lever")  #: what says which case a row is
#: What takes workspace inside itself on a transformer, by method or lever.
WORKSPACE = {
    "weights=bf16": "bfloat16 products: oneDNN copies their operands in blocks",
    "weights=frozen-bf16": "bfloat16 products: oneDNN copies their operands in blocks",
    "waveft": "its wavelet transform is a convolution, which oneDNN reorders",
    "c3a": "batched products of small circulant blocks, packed by the matrix library",
}


def summary(rows: list[Row]) -> dict[str, Any]:
    """Counts, the worst errors, and each case that is not exact, was refused or failed."""
    compared = [r for r in rows if "difference" in r]
    off = [r for r in compared if r["difference"]]
    fakes = [r for r in compared if r.get("formula") and r["model"] in TRANSFORMERS]
    return {
        "cases": len(compared),
        "exact": len(compared) - len(off),
        "every category exact too": sum(not r["by category"] for r in compared),
        "largest difference, bytes": max((abs(r["difference"]) for r in compared), default=0),
        "largest relative difference": max((abs(r["difference"]) / r["measured"] for r in compared), default=0.0),
        "without the probe, cases on transformers": len(fakes),
        "without the probe, within 1 %": sum(_error(r) <= TARGET for r in fakes),
        "without the probe, largest relative error": max(map(_error, fakes), default=0.0),
        "not exact": [{k: r[k] for k in ("key", "predicted", "measured", "difference", "by category")} for r in off],
        "categories differ": {r["key"]: r["by category"] for r in compared if r["by category"] and not r["difference"]},
        "refused": [{"key": r["key"], "reason": r["refused"]} for r in rows if "refused" in r],
        "too large": [{k: r[k] for k in (*NAMES, "too large")} for r in rows if "too large" in r],
        "failed": [{"key": r["key"], "reason": r["failed"]} for r in rows if "failed" in r],
    }


def _error(row: Row, tier: str = "formula") -> float:
    return float(abs(row[tier] - row["measured"]) / row["measured"])


def page(rows: list[Row], found: dict[str, Any], missing: dict[tuple[str, str], int]) -> Iterator[str]:
    """The lines of the page. ``missing`` counts by model and optimizer what no log has."""
    from workbench.environment import environment

    here = environment()
    compared = [r for r in rows if "difference" in r]
    plain = [r for r in compared if not r["lever"]]
    yield "# Predicted and measured peak, in bytes\n"
    yield (
        f"**{found['exact']:,} of {found['cases']:,} cases agree to the byte**; {found['every category exact too']:,} "
        f"of them in every category as well. The largest difference is {found['largest difference, bytes']:,} bytes "
        f"({found['largest relative difference']:.2%}). {_left(sum(missing.values()))}\n"
    )
    yield "*Predicted* is the probe tier, made before the step runs; *measured* is the counting allocator's peak of a"
    yield "warm step with random weights. Both in bytes, one step of the method with its default settings. Written, in"
    yield "pieces of these that a log joins, by"
    yield f"\n```\n{COMMANDS}\n```\n"
    yield f"with torch {here['torch']}, transformers {here['transformers']}, peft {here['peft']}, {here['processor']},"
    yield f"{here['threads']} thread. Every row is in `benchmarks/results/exactness.json`.\n"
    yield from _drawn(found.get("drawn again") or {})
    for title, key in (("Not exact", "not exact"), ("Not predicted", "refused"), ("Not run", "failed")):
        if found[key]:
            yield f"## {title}\n"
            yield from (f"- {cause}: {', '.join(keys)}" for cause, keys in _causes(found[key]).items())
            yield ""
    if found["too large"]:
        large = sorted({f"`{r['model']} {r['method']} {r['optimizer']}`" for r in found["too large"]})
        yield "## Too large to be measured\n"
        yield f"{len(found['too large'])} cases were predicted and not measured: they pass the 8 GiB of a case"
        yield f"({min(r['too large'] for r in found['too large']) / 1e9:.1f} GB and more): {', '.join(large)}.\n"
    if found["categories differ"]:
        yield "Equal at the peak, but another moment of the same height is named, so that categories differ:"
        yield ", ".join(f"`{key}`" for key in found["categories differ"]) + ".\n"
    yield from _coverage(plain, missing)
    yield from _levers([r for r in compared if r["lever"]])
    yield from _fakes(compared)
    yield "\n## By model and method\n"
    yield "Cases are optimizers times shapes; the peaks are the smallest and the largest measured one.\n"
    yield "| model | method | cases | exact | peak, bytes |\n|---|---|---|---|---|"
    for (model, method), some in _grouped(plain, "model", "method"):
        peaks = sorted(r["measured"] for r in some)
        yield f"| {model} | {method} | {len(some)} | {_exact(some)} | {peaks[0]:,} to {peaks[-1]:,} |"


def _drawn(drawn: dict[str, Any]) -> Iterator[str]:
    """What became of cases that were run once more, long after most of them were published."""
    if not drawn:
        return
    other = drawn["other bytes"]
    yield f"Rows are of many days. On {drawn['date']} {drawn['cases']:,} of {drawn['of']:,} were drawn at random (seed"
    yield f"{drawn['seed']}) and run once more: {drawn['exact']:,} are exact, {drawn['cases'] - len(other):,} with the"
    changed = " The code has changed the others since; predicted and measured, then and now:" if other else ""
    yield f"published bytes.{changed}\n"
    if other:
        lines = (f"- `{key}`: {', '.join(f'{size:,}' for size in sizes)}" for key, sizes in other.items())
        yield "\n".join(lines) + "\n"


def _left(count: int) -> str:
    if not count:
        return "Every shipped model was run with every method that serves it and every rule at three shapes."
    return f"{count:,} further combinations had not been run when this was written; they are counted below."


def _grouped(rows: Iterable[Row], *names: str) -> list[tuple[tuple[str, ...], list[Row]]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[n] for n in names), []).append(row)
    return list(groups.items())


def _exact(rows: list[Row]) -> int:
    return sum(r["difference"] == 0 for r in rows)


def _coverage(plain: list[Row], missing: dict[tuple[str, str], int]) -> Iterator[str]:
    yield "## What was run\n"
    yield "Three shapes of every method that serves the model, as far as they were run. *Not run* counts what no log"
    yield "had when this was written, of methods that say they serve the model and rule: the commands fill it.\n"
    yield "| model | optimizer | methods | cases | exact | not run |\n|---|---|---|---|---|---|"
    groups = dict(_grouped(plain, "model", "optimizer"))
    for model, rule in dict.fromkeys([*groups, *missing]):
        some = groups.get((model, rule), [])
        count = len({r["method"] for r in some})
        numbers = f"{count} | {len(some):,} | {_exact(some):,} | {missing.get((model, rule), 0):,}"
        yield f"| {model} | {rule} | {numbers} |"


def _levers(rows: list[Row]) -> Iterator[str]:
    if not rows:
        return
    yield "\n## Levers, accumulation, padded batches\n"
    yield "| setting | models | methods | cases | exact |\n|---|---|---|---|---|"
    for (lever,), some in _grouped(sorted(rows, key=lambda r: r["lever"]), "lever"):
        models, methods = (", ".join(dict.fromkeys(r[n] for r in some)) for n in ("model", "method"))
        yield f"| {lever} | {models} | {methods} | {len(some)} | {_exact(some)} |"


def _fakes(rows: list[Row]) -> Iterator[str]:
    fakes = [r for r in rows if r.get("formula") and r["model"] in TRANSFORMERS]
    if not fakes:
        return
    yield "\n## Without the probe\n"
    yield "Two tiers execute no operator: *fake* knows nothing of workspace, *formula* that of the kernels whose rules"
    yield "are known. Transformers; the aim is 1 % of the measured peak.\n"
    yield "| model | cases | fake: exact | within 1 % | largest | formula: exact | within 1 % | largest | where |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for (model,), some in _grouped(fakes, "model"):
        cells = [model, str(len(some))]
        for tier in ("fake", "formula"):
            within = sum(_error(r, tier) <= TARGET for r in some)
            exact = sum(r[tier] == r["measured"] for r in some)
            cells += [str(exact), str(within), f"{max(_error(r, tier) for r in some):.2%}"]
        yield f"| {' | '.join([*cells, max(some, key=lambda r: _error(r, 'formula'))['key']])} |"
    beyond = [r for r in fakes if _error(r, "formula") > TARGET]
    met = "missed by " + str(len(beyond)) if beyond else "met by all"
    yield f"\nWith formulas the aim of 1 % is {met} of {len(fakes):,} cases; by shapes alone it is missed by"
    yield f"{sum(_error(r, 'fake') > TARGET for r in fakes)}."
    if beyond:
        yield "\n| case | fake tier | formula tier | what takes the workspace |\n|---|---|---|---|"
        for row in sorted(beyond, key=lambda r: r["key"]):
            yield f"| {row['key']} | {_signed(row, 'fake')} | {_signed(row, 'formula')} | {_cause(row)} |"


def _signed(row: Row, name: str) -> str:
    value = row.get(name)
    return "–" if value is None else f"{(value - row['measured']) / row['measured']:+.2%}"


def _cause(row: Row) -> str:
    said = [cause for words, cause in WORKSPACE.items() if words in (row["method"], *row["lever"].split("+"))]
    return said[0] if said else "not named yet"


def _causes(entries: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Keys of the cases by what is said of them; sizes are told per case."""
    grouped: dict[str, list[str]] = {}
    for entry in entries:
        cause = entry.get("reason", "no cause named yet")
        size = f" ({entry['difference']:+,} of {entry['measured']:,})" if "difference" in entry else ""
        grouped.setdefault(cause, []).append(f"`{entry['key']}`{size}")
    return grouped
