"""Read peft's registry and its config classes as source text, so that listing tuners imports no torch.

Each tuner's package calls ``register_peft_method(name=..., config_cls=...)``; the config class is a
dataclass in ``config.py`` whose fields carry a help text. Whatever peft adds appears here by itself.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.core import paths

_SIMPLE = {"int": int, "float": float, "bool": bool, "str": str}


@dataclass(frozen=True)
class TunerField:
    """One simple field of a tuner's config: ``type`` is int, float, bool or str."""

    name: str
    type: str
    default: Any
    doc: str
    choices: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Tuner:
    """One tuner of peft. ``cites`` is the first arXiv number in its source, or empty."""

    name: str
    config: str
    prompt: bool
    cites: str
    fields: tuple[TunerField, ...]


def tuners() -> list[Tuner]:
    """Every registered tuner of the installed peft, read from its source and cached by version and content."""
    spec = find_spec("peft")
    if spec is None or spec.origin is None:
        return []
    root = Path(spec.origin).parent / "tuners"
    store = paths.cache() / f"peft-{version('peft')}-{_fingerprint(root)}.json"
    try:
        return [_from_json(raw) for raw in json.loads(store.read_text())]
    except (OSError, ValueError, KeyError, TypeError):
        found = [t for t in map(_read, sorted(p for p in root.iterdir() if (p / "config.py").is_file())) if t]
        _write(store, found)
        return found


def _fingerprint(root: Path) -> str:
    """Changes when peft's source or this reader does."""
    stamps = "".join(f"{p.parent.name}{p.stat().st_size}" for p in sorted(root.glob("*/config.py")))
    return hashlib.sha256((stamps + str(Path(__file__).stat().st_size)).encode()).hexdigest()[:12]


def _write(store: Path, found: list[Tuner]) -> None:
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        temporary = store.with_suffix(f".{hashlib.sha256(str(id(found)).encode()).hexdigest()[:8]}")
        temporary.write_text(json.dumps([asdict(t) for t in found]))
        temporary.replace(store)
    except OSError:
        return  # a read-only cache only costs time


def _from_json(raw: dict[str, Any]) -> Tuner:
    fields = tuple(TunerField(**{**f, "choices": tuple(f["choices"])}) for f in raw.pop("fields"))
    return Tuner(**raw, fields=fields)


def _read(folder: Path) -> Tuner | None:
    call = _registration(ast.parse((folder / "__init__.py").read_text()))
    if call is None:
        return None
    name, config = call
    classes = {n.name: n for n in ast.parse((folder / "config.py").read_text()).body if isinstance(n, ast.ClassDef)}
    if config not in classes:
        return None
    body = classes[config]
    bases = [b.id for b in body.bases if isinstance(b, ast.Name)]
    fields: list[TunerField] = []
    for base in [b for b in bases if b in classes]:
        fields += _fields(classes[base])
    own = _fields(body)
    names = {f.name for f in own}
    fields = [f for f in fields if f.name not in names] + own
    return Tuner(name, config, "PromptLearningConfig" in bases, _citation(folder), tuple(fields))


def _registration(tree: ast.Module) -> tuple[str, str] | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "register_peft_method":
            values = {k.arg: k.value for k in node.keywords}
            name, config = values.get("name"), values.get("config_cls")
            if isinstance(name, ast.Constant) and isinstance(config, ast.Name):
                return str(name.value), config.id
    return None


def _citation(folder: Path) -> str:
    for file in ("config.py", "model.py"):
        source = (folder / file).read_text() if (folder / file).is_file() else ""
        found = re.search(r"(?:arxiv\.org/(?:abs|pdf)/|huggingface\.co/papers/|arXiv:)(\d{4}\.\d{5})", source)
        if found:
            return found.group(1)
    return ""


def _plain_words(text: str) -> str:
    """A help text without markup: links become their words."""
    text = re.sub(r"<[^>]+>", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(text.split())


def _fields(body: ast.ClassDef) -> list[TunerField]:
    found = []
    for node in body.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            continue
        kind, choices, optional = _annotation(node.annotation)
        default, doc, known = _default(node.value)
        if kind and known and (default is None or isinstance(default, _SIMPLE[kind] | int)):
            found.append(TunerField(node.target.id, kind, default, doc, choices, optional or default is None))
    return found


def _annotation(node: ast.expr) -> tuple[str, tuple[str, ...], bool]:
    """The simple type behind an annotation, its choices if it is a Literal of strings, and whether None is allowed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.Name) and node.id in _SIMPLE:
        return node.id, (), False
    if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Optional":
        kind, choices, _ = _annotation(node.slice)
        return kind, choices, True
    if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant) and node.right.value is None:
        kind, choices, _ = _annotation(node.left)
        return kind, choices, True
    if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Literal":
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        values = [i.value for i in items if isinstance(i, ast.Constant)]
        if len(values) == len(items) and all(isinstance(v, str) for v in values):
            return "str", tuple(str(v) for v in values), False
    return "", (), False


def _default(node: ast.expr) -> tuple[Any, str, bool]:
    """Default value, help text, and whether the default is a plain constant."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "field":
        values = {k.arg: k.value for k in node.keywords}
        doc = ""
        if "metadata" in values:
            try:
                doc = _plain_words(str(ast.literal_eval(values["metadata"]).get("help", "")))
            except (ValueError, AttributeError):
                doc = ""
        if "default" not in values:
            return None, doc, False
        node, text = values["default"], doc
    else:
        text = ""
    try:
        return ast.literal_eval(node), text, True
    except ValueError:
        return None, text, False
