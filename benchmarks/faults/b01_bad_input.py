"""B1: generated bad input through every door: the schema, notebook parameters, method settings, forms, the command."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faults.frame import Experiment, Figures, Setting

LONG = "ä" * 5000
STRANGE: tuple[Any, ...] = (
    -1, -(10**18), 10**30, 1.5, float("nan"), float("inf"), float("-inf"), True, b"x", [], [1], {}, {"a": 1}, object(),
)  # fmt: skip
NAMES = ("zz-none", "../../etc/passwd", "/dev/null", "a\0b", "‮txt.exe", "x y", "💥" * 1000, LONG, "__import__('os')",
         "{0.__class__}", "${HOME}", "-p", "%s%n", "\ud800", "lora\n", "'; drop table runs;--")  # fmt: skip
SIZES = ("0", "-5MiB", "nan", "inf", "12 parsecs", "1e18", "9" * 40 + "GiB", "MiB", "1,5MiB", "0x10", "１MiB x")
INJECTED = ("x=open('pwned','w')#", "print", "__builtins__", "import", "a b", "", "tsak", "ｔask ", "class", "1x")
NUMBERS = ("batch", "length", "train", "test", "epochs", "steps")
WORDS = ("task", "model", "device", "profile")


def request_values(chance: random.Random) -> dict[str, Any]:
    """One to four things wrong at once."""
    found: dict[str, Any] = {}
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(5)
        if kind == 0:
            found[chance.choice(NUMBERS)] = chance.choice((*STRANGE, 0, "many"))
        elif kind == 1:
            found[chance.choice(WORDS)] = chance.choice((*NAMES, *STRANGE))
        elif kind == 2:
            found["budget"] = chance.choice((*SIZES, 0, -1, 10**18, float("nan"), True, [], None))
        elif kind == 3:
            found[chance.choice(INJECTED)] = chance.choice(NAMES)
        else:
            found[chance.choice(("methods", "seeds"))] = chance.choice((("lorra",), (-1,), (True,), "x", 5, ("", 1.5)))
    # 1.5 epochs are no mistake.
    return {"task": "zz-none"} | found if found == {"epochs": 1.5} else found


def _doors(folder: Path) -> dict[str, Callable[[random.Random], None]]:
    from workbench.cli import options
    from workbench.methods.base import methods
    from workbench.report.parameters import checked
    from workbench.report.run import parameters
    from workbench.request import asked

    known = parameters("compare-methods")
    registered = methods.names()

    def schema(chance: random.Random) -> None:
        asked(request_values(chance))

    def notebook(chance: random.Random) -> None:
        values = request_values(chance)
        checked(known, {**values, chance.choice(INJECTED): 1})

    def settings(chance: random.Random) -> None:
        method = chance.choice(registered)
        fields = list(methods.get(method).Config.model_fields)
        name = chance.choice(("lr", "probes", "recompute", "saved", "rr", fields[-1][:-1] + "_", *INJECTED))
        options.method_settings(method, [f"{name}={chance.choice(('-1', 'nan', '1e400', 'zz', '[]', '{}', LONG))}"])

    def form(chance: random.Random) -> None:
        from workbench.core.config import validated

        config = methods.get(chance.choice(registered)).Config
        name = chance.choice(("lr", "optimizer", "weights", "cached_examples", "gradient", "perturbation"))
        validated(config, {name: chance.choice((-1, -1.5, float("nan"), "zz", None, [], LONG, b""))}, "form")

    return {"schema": schema, "notebook": notebook, "settings": settings, "form": form, "command": _command}


def _command(chance: random.Random) -> None:
    """The whole command in this process; its words become an error again so that all doors are judged alike."""
    from workbench.cli import main

    words = chance.choice(
        (
            ["fit", f"--{chance.choice(WORDS[:3])}", chance.choice(NAMES).replace("\0", "") or "zz"],
            ["fit", f"--budget={chance.choice(SIZES)}"],
            ["run", "--method", chance.choice(("lorra", "")), "--task", "zz", f"--batch={chance.choice((0, 'x', -3))}"],
            ["report", chance.choice(NAMES).lstrip("-") or "zz"],
            ["report", "compare-methods", "-p", f"{chance.choice(INJECTED)}=1"],
            ["ablate", chance.choice(("method", "seed=", "=x", "seed=-1", "method=lorra"))],
            [chance.choice(("fitt", "--evil", "rn")), chance.choice(NAMES)],
            ["lab", "--address", chance.choice(("localhost.evil", "300.1.1.1", ""))],
        )
    )
    before, sys.argv = sys.argv, ["pintpot", *(w.encode("utf-8", "replace").decode() for w in words)]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        said = err.getvalue()
        sound = end.code == 2 and said.startswith("pintpot: ") and "Traceback" not in said and not out.getvalue()
        if sound:
            raise _Refused from None
        raise AssertionError(f"{words}: {end.code} {said[:200]}") from None
    finally:
        sys.argv = before


class _Refused(Exception):
    """The command answered as it must."""


@contextlib.contextmanager
def _apart(folder: Path) -> Iterator[None]:
    """Everything the commands may write lies in ``folder``."""
    before, place = dict(os.environ), Path.cwd()
    for name in ("CACHE", "RUNS", "REPORTS"):
        os.environ[f"PINTPOT_{name}"] = str(folder / name.lower())
    (folder / "work").mkdir()
    os.chdir(folder / "work")
    try:
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)


def ours(setting: Setting) -> Figures:
    from workbench.core.errors import BadInput

    found: Figures = {"inputs": 0, "refused": 0, "accepted": 0, "other ends": 0, "files": 0, "p99 ms": 0.0}
    times = []
    with _apart(setting.folder):
        doors = list(_doors(setting.folder).items())
        for _, door in doors:  # what is read once in a process is not the time of an answer
            with contextlib.suppress(Exception):
                door(random.Random(0))
        before = set(setting.folder.rglob("*"))
        for number in range(setting.size):
            chance = random.Random(f"{setting.seed} {number}")
            name, door = doors[number % len(doors)]
            started = time.process_time()
            try:
                door(chance)
                found["accepted"] += 1
                print(f"  accepted by {name}: number {number}")
            except (BadInput, _Refused) as problem:
                clear = isinstance(problem, _Refused) or (problem.exit_code == 2 and 0 < len(str(problem)) < 5000)
                found["refused" if clear else "other ends"] += 1
            except Exception as error:
                found["other ends"] += 1
                print(f"  {name}, number {number}: {type(error).__name__}: {error}"[:300])
            times.append(time.process_time() - started)
            found["inputs"] += 1
        kept = {p for p in setting.folder.rglob("*") if p.is_file()} - before
        found["files"] = len([p for p in kept if not p.name.startswith("peft-")])
    found["p99 ms"] = sorted(times)[int(len(times) * 0.99)] * 1000
    return found


def lax(setting: Setting) -> Figures:
    """The same schema as most programs have it: conversions allowed, unknown names dropped, no look-up."""
    from pydantic import ConfigDict, ValidationError, create_model

    fields: dict[str, Any] = dict.fromkeys(NUMBERS, (float | None, None)) | dict.fromkeys((*WORDS, "budget"), (str, ""))
    schema = create_model("Lax", __config__=ConfigDict(extra="ignore"), **fields)
    found: Figures = {"inputs": setting.size, "refused": 0, "accepted": 0, "other ends": 0, "files": 0, "p99 ms": 0.0}
    for number in range(setting.size):
        try:
            schema(**request_values(random.Random(f"{setting.seed} {number}")))
            found["accepted"] += 1
        except ValidationError:
            found["refused"] += 1
        except Exception:
            found["other ends"] += 1
    return found


def papermill(setting: Setting) -> Figures:
    """papermill given the same names and values for the same notebook: what it would run."""
    import logging

    from papermill.execute import parameterize_notebook
    from papermill.iorw import load_notebook_node

    from workbench.report.run import notebook_of

    logging.getLogger("papermill").setLevel(logging.ERROR)
    notebook = load_notebook_node(str(notebook_of("compare-methods")))
    size = min(setting.size, 300)
    found: Figures = {"inputs": size, "refused": 0, "accepted": 0, "other ends": 0, "files": 0, "p99 ms": 0.0}
    for number in range(size):
        try:
            parameterize_notebook(notebook, request_values(random.Random(f"{setting.seed} {number}")))
            found["accepted"] += 1
        except Exception:
            found["refused"] += 1
    return found


EXPERIMENT = Experiment(
    name="B1",
    test="generated bad input through the schema, notebook parameters, method settings, forms and the command",
    target="each refused with exit code 2 and sentences, no trace, no file, 99 of 100 within 50 ms of processor time",
    unit="inputs",
    short=600,
    long=10_000,
    ours=ours,
    met=lambda f: f["inputs"] == f["refused"] > 0 and not f["files"],
    in_time=lambda f: f["p99 ms"] <= 50,
    controls={"lax schema without look-up": lax},
    peers={"papermill": papermill},
    note="papermill is given up to 300 of them and only asked to put them into the notebook; nothing is run.",
)
