"""torch's compiler stays asleep while steps are built, run and predicted, and wakes whole when something compiles."""

from __future__ import annotations

import subprocess
import sys

import pytest


def answer(code: str) -> str:
    """What ``code`` prints in a process of its own: this one may have the compiler already."""
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code], text=True,
                          capture_output=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ASLEEP = "import sys; asleep = lambda: type(sys.modules['torch._dynamo']).__name__ == 'Asleep'\n"


def test_a_step_is_predicted_and_run_with_the_compiler_asleep() -> None:
    code = ASLEEP + (
        "import workbench\n"
        "from workbench.case import Case\n"
        "case = Case('tokens', 'tiny-bert', 'lora', 2, 16)\n"
        "from workbench.memory.measure import measure\n"
        "case.predict(); measure(case.step(case.attached(weights=False)), case.example()); print(asleep())"
    )
    assert answer(code) == "True"


@pytest.mark.parametrize("first", ["", "import torch._dynamo\n"], ids=["asleep", "awake"])
def test_gradients_are_told_from_workspace_by_frames_that_hold_either_way(first: str) -> None:
    code = (
        ASLEEP
        + first
        + (
            "from workbench.case import Case\n"
            "case = Case('digits', 'tiny-vit', 'full', 4, 16)\n"
            "from workbench.memory.measure import measure\n"
            "found = measure(case.step(case.attached(weights=False)), case.example())\n"
            "print(asleep(), found.by_category['gradients'] > 0)"
        )
    )
    assert answer(code) == f"{not first} True"


def test_what_was_marked_asleep_is_left_alone_by_a_compiler_that_wakes() -> None:
    code = ASLEEP + (
        "import workbench, torch\n"
        "@torch.compiler.disable\n"
        "def apart(x): return x + 1 if not torch.compiler.is_compiling() else x + 100\n"
        "@torch.compiler.disable(recursive=False)\n"
        "def apart_too(x): return x * 3\n"
        "@torch._dynamo.assume_constant_result\n"
        "def constant(): return 2\n"
        "print(asleep(), apart(1), apart_too(2), constant())\n"
        "seen = []\n"
        "def backend(graph, inputs): seen.append(str(graph.code)); return graph.forward\n"
        "def step(x): return apart_too(apart(x.sin())) * constant()\n"
        "print(torch.compile(step, backend=backend)(torch.zeros(2)).tolist(), asleep())\n"
        "print(any('+ 1' in code or '* 3' in code for code in seen), len(seen), constant._dynamo_marked_constant)"
    )
    assert answer(code).splitlines() == ["True 2 6 2", "[6.0, 6.0] False", "False 2 True"]


@pytest.mark.parametrize(
    "first",
    ["import torch._dynamo.utils as found", "import torch; found = torch._dynamo.utils"],
)
def test_any_part_of_the_compiler_wakes_it_whole_and_once(first: str) -> None:
    code = ASLEEP + (
        "import workbench, torch._dynamo.config\n"
        "before = asleep()\n"
        f"{first}\n"
        "import torch._dynamo.utils, torch._dynamo.eval_frame\n"
        "print(before, asleep(), found is sys.modules['torch._dynamo.utils'] is torch._dynamo.utils,\n"
        "      found.__spec__.name, torch._dynamo.config is sys.modules['torch._dynamo.config'])"
    )
    assert answer(code) == "True False True torch._dynamo.utils True"


def test_threads_that_wake_it_at_once_all_see_it_whole() -> None:
    code = ASLEEP + (
        "import threading, workbench, torch._dynamo.config\n"
        "found = []\n"
        "def ask(): found.append(torch._dynamo.explain is not None)\n"
        "threads = [threading.Thread(target=ask) for _ in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; print(found)"
    )
    assert answer(code) == "[True, True, True, True]"


def test_a_compiler_that_is_there_stays_as_it_is() -> None:
    code = ASLEEP + "import torch._dynamo, workbench; print(asleep())"
    assert answer(code) == "False"
