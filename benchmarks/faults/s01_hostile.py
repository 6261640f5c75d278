"""S1: a hostile corpus, made at run time so that no live payload lies in the tree, put through every foreign door.

A *canary* is a file that a payload would create. Whatever happens, it must not appear, nothing may be written outside
the folder of the case, no weight may be served from a damaged file, and each answer comes within five seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faults.frame import Experiment, Figures, Setting

LIMIT = 5.0  #: seconds for one answer


class Canary:
    """Unpickles into the creation of a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.file), "w"))


BERT = {"model_type": "bert", "vocab_size": 64, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 8, "max_position_embeddings": 16}  # fmt: skip
COUNTED = ("cases", "executed", "written outside", "slower than 5 s", "accepted", "other ends")
Case = tuple[str, Callable[[], Any]]


def _safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _names(folder: Path) -> Iterator[Case]:
    """Twenty parameter names and values that are code, for a notebook that would run."""
    from workbench.report.parameters import checked
    from workbench.report.run import parameters

    known, canary = parameters("compare-methods"), folder / "canary"
    code = f"open({str(canary)!r}, 'w')"
    names = (f"x={code}#", f"task\n{code}", f"task;{code}", "print", "__import__", "open", "get_ipython", "a b", "",
             "import os", f"[{code}][0]", "{task.__class__}", "tаsk", "task ", "Task", "0",
             "lambda: 0", "x.y")  # fmt: skip
    for name in names:
        yield f"parameter name {name[:20]!r}", lambda name=name: checked(known, {name: 1})
    for value in ({"seeds": code}, {"batch": code}):
        yield f"parameter value {next(iter(value))}", lambda value=value: checked(known, value)


def _paths(folder: Path) -> Iterator[Case]:
    """Twenty names that are paths, where a report or a model is asked for."""
    from workbench.models import resolve
    from workbench.report.run import render

    (folder / "link").symlink_to("/etc")
    outside = ("../x", "/etc/passwd", "..\\x", "a/../../x", "\0", "x\0.ipynb", "~root", "file:///etc/passwd", "s3://b/x",
               "http://example.invalid/x", "compare-methods/../../x", "{0}", "‮", "CON", "." * 5000)  # fmt: skip
    for name in outside:
        yield f"report {name[:12]!r}", lambda name=name: render(name, progress=False)
    for name in ("path:/etc", "path:../..", f"path:{folder / 'link'}", "path:\0", "hub:../../etc"):
        yield f"model {name[:12]!r}", lambda name=name: resolve(name)


def _checkpoints(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Thirty folders with weights that are pickles by another name, or damaged safetensors."""
    from workbench.models import resolve

    names = ("pytorch_model.bin", "model.pt", "weights.pth", "model.pkl", "model.safetensors", "adapter.bin")
    for number in range(30):
        place = folder / f"checkpoint-{number}"
        place.mkdir()
        (place / "config.json").write_text(json.dumps(BERT))
        name, protocol = names[number % len(names)], number % 5
        content = pickle.dumps(Canary(folder / "canary"), protocol=protocol)
        if number % 3 == 1:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("archive/data.pkl", content)
            content = packed.getvalue()
        elif number % 3 == 2:
            content = _safetensors({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}) + content[:8]
        (place / name).write_bytes(content)

        def load(place: Path = place) -> Any:
            return resolve(f"path:{place}").build(2)

        yield f"checkpoint {number} {name}", load


HEADERS: tuple[tuple[str, bytes], ...] = (
    ("giant length", _safetensors({}, length=2**62)),
    ("length past the end", _safetensors({}, length=1000)),
    ("short file", b"\0\0\0"),
    ("no JSON", _safetensors(b"[" * 50_000)),
    ("a list", _safetensors([1])),
    ("same name twice", _safetensors(b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                                     b'"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4)),
    ("NUL in a name", _safetensors({"a\0": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4)),
    ("a path for a name", _safetensors({"../x y": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4)),
    ("giant shape", _safetensors({"x": {"dtype": "F32", "shape": [2**50], "data_offsets": [0, 2**52]}})),
    ("negative shape", _safetensors({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}})),
    ("overlap", _safetensors({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, b"\0" * 4)),
    ("gap", _safetensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8)),
    ("tail", _safetensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4 + b"PK\3\4")),
    ("unknown type", _safetensors({"x": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4)),
)  # fmt: skip


def _headers(folder: Path) -> Iterator[Case]:
    from workbench.adapters.tensor_file import finite

    for number, (name, content) in enumerate(HEADERS):
        file = folder / f"header-{number}.safetensors"
        file.write_bytes(content)
        yield f"header {name}", lambda file=file: finite(file, "adapter", {"x": (1,)})


LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value"]}
ADAPTERS: tuple[dict[str, Any], ...] = (
    {"r": 10**9}, {"r": -1}, {"r": "4"}, {"r": True}, {"r": 1.5}, {"lora_alpha": float("nan")}, {"lora_alpha": 1e300},
    {"lora_dropout": 2.0}, {"peft_type": "EVIL"}, {"target_modules": "(a+)+$"}, {"megatron_config": {"x": 1}},
    {"megatron_core": "os"}, {"auto_mapping": {"base_model_class": "X", "parent_library": "os"}}, {"unknown": 1},
    {"tokenizer_kwargs": {"trust_remote_code": True}}, {"loftq_config": {"x": 1}}, {"layer_replication": [[0, 10**6]]},
    {"rank_pattern": {"(a+)+$": 10**6}}, {"base_model_name_or_path": 7}, {"bias": "all"},
)  # fmt: skip


def _adapters(folder: Path) -> Iterator[Case]:
    from workbench.adapters import read

    for number, changed in enumerate(ADAPTERS):
        place = folder / f"adapter-{number}"
        place.mkdir()
        (place / "adapter_config.json").write_text(json.dumps(LORA | changed))
        (place / "adapter_model.bin").write_bytes(pickle.dumps(Canary(folder / "canary")))
        yield f"adapter {next(iter(changed))}", lambda place=place: read(place)


def _configurations(folder: Path) -> Iterator[Case]:
    """Ten model configurations that ask for code or for the impossible."""
    from workbench.models import resolve

    changes: tuple[dict[str, Any], ...] = (
        {"auto_map": {"AutoConfig": "evil.Config"}, "model_type": "evil"}, {"num_hidden_layers": 10**9},
        {"hidden_size": 10**12}, {"vocab_size": -1}, {"hidden_size": "8"}, {"torch_dtype": "__class__"},
        {"attn_implementation": "evil/kernel"}, {"_attn_implementation": "evil/kernel"}, {"hidden_size": None},
        {"quantization_config": {"quant_method": "gptq"}},
    )  # fmt: skip
    for number, changed in enumerate(changes):
        place = folder / f"configuration-{number}"
        place.mkdir()
        (place / "config.json").write_text(json.dumps(BERT | changed))
        (place / "evil.py").write_text(f"open({str(folder / 'canary')!r}, 'w')")
        yield f"configuration {next(iter(changed))}", lambda place=place: resolve(f"path:{place}").build(2)


def _archives(folder: Path) -> Iterator[Case]:
    """Sixteen carriers and data files: another file than pinned, links, bombs, objects in arrays."""
    import numpy as np

    from workbench.assets.catalogue import Asset, AssetFile
    from workbench.assets.unpack import unpack

    def asset(path: str, name: str = "x", sha256: str = "0" * 64) -> Asset:
        return Asset("evil", "data", "t", "package:x==1", "l", "u", files=(AssetFile(path, name, sha256, 10),))

    for number, member in enumerate(("../x", "/etc/passwd", "a/../../x", "x", "link", "bomb", "hard", "x\0y")):
        for form in ("zip", "tar"):
            carrier = folder / f"carrier-{number}.{'whl' if form == 'zip' else 'tar'}"
            target = folder / f"into-{number}-{form}"
            target.mkdir()
            content = bytes(10**7) if member == "bomb" else pickle.dumps(Canary(folder / "canary"))
            if form == "zip":
                with zipfile.ZipFile(carrier, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr(member.replace("\0", "?"), content)
            else:
                _tar(carrier, member, content)
            yield f"carrier {form} {member[:8]!r}", lambda c=carrier, m=member, t=target: unpack(asset(m), c, t)
    np.save(folder / "objects.npy", np.array([Canary(folder / "canary")], dtype=object), allow_pickle=True)
    yield "array of objects", lambda: np.load(folder / "objects.npy", allow_pickle=False)


def _tar(carrier: Path, member: str, content: bytes) -> None:
    with tarfile.open(carrier, "w") as archive:
        entry = tarfile.TarInfo(member.replace("\0", "?"))
        if member in ("link", "hard"):
            entry.type, entry.linkname = (tarfile.SYMTYPE if member == "link" else tarfile.LNKTYPE), "/etc/passwd"
            archive.addfile(entry)
        else:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _corpus(folder: Path, seed: int) -> Iterator[Case]:
    yield from _names(folder)
    yield from _paths(folder)
    yield from _checkpoints(folder, random.Random(seed))
    yield from _headers(folder)
    yield from _adapters(folder)
    yield from _configurations(folder)
    yield from _archives(folder)


def ours(setting: Setting) -> Figures:
    """Every case must be refused with a sentence of ours (numpy's own for the array)."""
    from workbench.core.errors import PintpotError

    corpus = setting.folder / "corpus"
    corpus.mkdir()
    found: Figures = {
        "cases": 0,
        "executed": 0,
        "written outside": 0,
        "slower than 5 s": 0,
        "accepted": 0,
        "other ends": 0,
    }
    os.environ["PINTPOT_OFFLINE"] = "1"
    before = _tree(setting.folder)
    for name, case in list(_corpus(corpus, setting.seed)):
        started = time.monotonic()
        try:
            case()
            found["accepted"] += 1
            print(f"  accepted: {name}")
        except PintpotError:
            pass
        except ValueError as error:
            if name != "array of objects":
                found["other ends"] += 1
                print(f"  {name}: {type(error).__name__}: {error}"[:200])
        except Exception as error:
            found["other ends"] += 1
            print(f"  {name}: {type(error).__name__}: {error}"[:200])
        found["slower than 5 s"] += time.monotonic() - started > LIMIT
        found["cases"] += 1
        if (corpus / "canary").exists():
            found["executed"] += 1
            (corpus / "canary").unlink()
            print(f"  EXECUTED: {name}")
    found["written outside"] = len(_tree(setting.folder) - before)
    return found


def _tree(folder: Path) -> set[Path]:
    """What lies beside the corpus, where nothing belongs."""
    return {p for p in folder.iterdir() if p.name != "corpus"} | {p for p in Path.cwd().iterdir() if p.name == "pwned"}


def trusting(setting: Setting) -> Figures:
    """The same pickles and names as most programs take them: ``weights_only=False``, ``exec`` of a parameters cell."""
    import torch

    found: Figures = {
        "cases": 0,
        "executed": 0,
        "written outside": 0,
        "slower than 5 s": 0,
        "accepted": 0,
        "other ends": 0,
    }
    list(_checkpoints(setting.folder, random.Random(setting.seed)))
    for place in sorted(setting.folder.glob("checkpoint-*")):
        file = next(p for p in place.iterdir() if p.name != "config.json")
        with contextlib.suppress(Exception):
            torch.load(file, weights_only=False)
        found["cases"] += 1
        found["executed"] += (setting.folder / "canary").exists()
        (setting.folder / "canary").unlink(missing_ok=True)
    return found


def papermill(setting: Setting) -> Figures:
    """papermill given the hostile names: the injected cell is compiled and run, and its paths are formatted."""
    from papermill.parameterize import parameterize_path
    from papermill.translators import PythonTranslator

    canary = setting.folder / "canary"
    found: Figures = {"cases": 0, "executed": 0, "paths that left their folder": 0}
    for name in (
        f"x=open({str(canary)!r}, 'w')#",
        f"y;open({str(canary)!r}, 'w');z",
        f"a\nopen({str(canary)!r}, 'w')\nb",
    ):
        source = PythonTranslator.codify({name: 1})
        with contextlib.suppress(Exception):
            exec(compile(source, "<parameters>", "exec"), {})
        found["cases"] += 1
        found["executed"] += canary.exists()
        canary.unlink(missing_ok=True)
    written = parameterize_path("runs/{name}.ipynb", {"name": "../../x"})
    return found | {"paths that left their folder": int(".." in Path(written).parts)}


EXPERIMENT = Experiment(
    name="S1",
    test="a hostile corpus made at run time: names, paths, checkpoints, headers, adapters, configurations, carriers",
    target="none executed, nothing written outside, none accepted, each answered in a sentence within 5 s",
    unit="corpus (at least 120 cases)",
    short=1,
    long=1,
    ours=ours,
    met=lambda f: (
        f["cases"] >= 120 and not any(f[n] for n in ("executed", "written outside", "accepted", "other ends"))
    ),
    in_time=lambda f: not f["slower than 5 s"],
    controls={"torch.load(weights_only=False) on the checkpoints": trusting},
    peers={"papermill": papermill},
)
