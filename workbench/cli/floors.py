"""The oldest versions that are safe to read foreign data with, and what was wrong below them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

#: Package, lowest version, what that version closes.
FLOORS = (
    ("torch", "2.10", "CVE-2025-32434 and CVE-2026-24747: code and memory corruption through weights_only"),
    ("transformers", "5.3", "CVE-2026-4372, CVE-2026-5241, CVE-2026-1839: code through configurations and states"),
    ("peft", "0.21", "adapters that name modules to import"),
    ("safetensors", "0.6", "headers that other readers take for other formats"),
    ("jupyter_server", "2.18", "CVE-2026-35397: paths outside the root"),
    ("PyYAML", "5.4", "objects made by the safe-looking loader"),
    ("nbconvert", "7.16", "what an exporter runs while it converts"),
    ("nh3", "0.2.20", "what a sanitiser lets through"),
    ("jinja2", "3.1.6", "CVE-2025-27516: leaving the template sandbox"),
)


def below() -> list[str]:
    """One sentence for each installed package below its floor. What is not installed cannot be reached."""
    from packaging.version import Version

    found = []
    for name, floor, why in FLOORS:
        try:
            have = version(name)
        except PackageNotFoundError:
            continue
        if Version(have) < Version(floor):
            found.append(f"{name} {have} is below {floor} ({why})")
    return found
