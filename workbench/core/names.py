"""Names of modules as their author wrote them, without what adapters and wrappers put around them."""

from __future__ import annotations

_WRAPPERS = ("base_model", "modules_to_save", "original_module", "base_layer")


def plain(name: str) -> str:
    """``base_model.model.encoder.layer.0`` is ``encoder.layer.0``: layers of different methods then align.

    >>> plain("base_model.model.blocks.4.project_conv.base_layer")
    'blocks.4.project_conv'
    """
    for prefix in ("base_model.model.", "base_model."):
        name = name.removeprefix(prefix)
    parts = [p for p in name.split(".") if p not in _WRAPPERS]
    if name.endswith(("modules_to_save.default", "original_module")):
        parts = [p for p in parts if p != "default"]
    return ".".join(parts)
