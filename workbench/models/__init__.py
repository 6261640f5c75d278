"""Models by name: shipped ones, any folder with a transformers configuration, any hub repository."""

from __future__ import annotations

from workbench.core.errors import UnknownName
from workbench.models.base import INPUT_NAMES, ModelSpec

__all__ = ["INPUT_NAMES", "ModelSpec", "models", "resolve"]


def models() -> dict[str, ModelSpec]:
    """The shipped models by name. Needs no torch."""
    from workbench.models.library import MODELS

    return dict(MODELS)


def resolve(name: str | ModelSpec) -> ModelSpec:
    """The model called ``name``, or ``path:DIR``, or ``hub:OWNER/NAME``.

    Shipped names need no torch; folders and hub repositories are built once on meta to count and check them.
    Raises ``UnknownName`` with the nearest names, ``BadInput`` or ``ResourceMissing``.
    """
    if isinstance(name, ModelSpec):
        return name
    scheme, found, place = str(name).partition(":")
    if found and scheme in ("path", "hub"):
        from workbench.models.folder import from_folder, from_hub

        return from_folder(place) if scheme == "path" else from_hub(place)
    known = models()
    if name not in known:
        raise UnknownName("model", name, [*known, "path:DIR", "hub:OWNER/NAME"])
    return known[name]
