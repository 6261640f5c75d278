"""Pulling: verified, atomic, healed when damaged, clear when impossible. Carriers here are made on the spot."""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace

import pytest

from workbench.assets import catalogue, find, locate, pull, sources, status, verify
from workbench.assets.catalogue import Asset, AssetFile
from workbench.assets.store import problem, publish, workspace
from workbench.assets.unpack import unpack
from workbench.core.errors import ResourceMissing

CONTENT = b"id\t1.5\tgood\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PINTPOT_OFFLINE", raising=False)


def entry(path, content=CONTENT, **more):
    wanted = AssetFile(path, "data.txt", hashlib.sha256(content).hexdigest(), len(content))
    return Asset("toy", "data", "Toy", "package:toy==1.0", "MIT", "any", files=(wanted,), form="wheel", **more)


def tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_unpack_from_wheel_and_from_archive_in_archive(tmp_path):
    wheel = tmp_path / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/data.txt", CONTENT)
        archive.writestr("toy/__init__.py", "raise SystemExit('a carrier must not be imported')")
    nested = tmp_path / "toy-1.0.tar.gz"
    nested.write_bytes(tar({"toy-1.0/inner.tar.gz": tar({"x/data.txt": CONTENT})}))
    for carrier, path in ((wheel, "toy/data.txt"), (nested, "toy-1.0/inner.tar.gz!x/data.txt")):
        out = tmp_path / carrier.suffix
        out.mkdir()
        unpack(entry(path), carrier, out)
        assert [p.name for p in out.iterdir()] == ["data.txt"]
        assert (out / "data.txt").read_bytes() == CONTENT


def test_unpack_refuses_another_content_and_a_missing_member(tmp_path):
    wheel = tmp_path / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/data.txt", CONTENT + b"!")
    with pytest.raises(ResourceMissing, match="SHA-256"):
        unpack(entry("toy/data.txt"), wheel, tmp_path)
    assert not (tmp_path / "data.txt").exists()
    with pytest.raises(ResourceMissing, match="is not in"):
        unpack(entry("toy/other.txt"), wheel, tmp_path)


def published(asset):
    with workspace(asset) as scratch:
        ready = scratch / "ready"
        ready.mkdir()
        (ready / "data.txt").write_bytes(CONTENT)
        publish(asset, ready)
    return asset.folder


def test_damage_is_found_and_named():
    asset = entry("toy/data.txt")
    folder = published(asset)
    assert problem(asset, contents=True) == ""
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    (folder / "data.txt").write_bytes(CONTENT.replace(b"good", b"evil"))
    assert problem(asset, contents=False) == ""
    assert "data.txt is damaged" in problem(asset, contents=True)
    (folder / "data.txt").write_bytes(CONTENT[:3])
    assert "3 bytes instead of" in problem(asset, contents=False)
    (folder / "data.txt").unlink()
    assert "missing" in problem(asset, contents=False)
    (folder / "manifest.json").write_text("{")
    assert "manifest.json is damaged" in problem(asset, contents=False)


def test_another_pin_does_not_match_an_old_cache():
    asset = entry("toy/data.txt")
    published(asset)
    assert "another catalogue entry" in problem(replace(asset, convert="gguf"), contents=False)


def test_publish_replaces_a_damaged_copy():
    asset = entry("toy/data.txt")
    folder = published(asset)
    (folder / "data.txt").write_bytes(b"")
    published(asset)
    assert problem(asset, contents=True) == ""


def test_an_interrupted_pull_leaves_nothing(monkeypatch):
    def interrupted(asset, scratch, progress):
        (scratch / "half").write_bytes(b"x")
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.assets.cache.fetch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pull("bfcl")
    folder = find("bfcl").folder
    assert not folder.exists()
    assert [p.name for p in folder.parent.iterdir()] == [".bfcl.lock"]


def test_offline_and_absent_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PINTPOT_OFFLINE", "1")
    with pytest.raises(ResourceMissing, match=r"pintpot assets pull minilm.*copy") as caught:
        locate("minilm")
    assert caught.value.exit_code == 4


def test_failed_download_says_what_to_do(monkeypatch):
    broken = replace(find("bfcl"), source="package:bfcl-eval==0.0.0.dev999")
    monkeypatch.setattr("workbench.assets.cache.find", lambda name: broken)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ResourceMissing, match=r"could not be downloaded .*pintpot assets pull bfcl"):
        pull("bfcl")


def test_opt_in_asks_first(monkeypatch):
    monkeypatch.setattr(sources, "fetch", lambda *a: pytest.fail("fetched without consent"))
    monkeypatch.setattr("workbench.assets.cache.fetch", sources.fetch)
    with pytest.raises(ResourceMissing, match=r"opt-in.*--accept"):
        pull("dinov2-small")


def test_standard_library_needs_no_cache():
    assert status("python-source") == "built in"
    assert (locate("python-source") / "ast.py").is_file()
    verify("python-source")


@pytest.mark.assets
def test_real_pull_damage_and_repair(pulled):
    pulled("bfcl")  # skips when there is no way to get it
    seen = []
    folder = pull("bfcl", progress=lambda label, done, total: seen.append((label, done, total)))
    assert sorted(p.name for p in folder.iterdir()) == [
        "manifest.json",
        "simple_python.jsonl",
        "simple_python_answers.jsonl",
    ]
    assert status("bfcl") == "cached"
    verify("bfcl")
    assert all(f.size == (folder / f.name).stat().st_size for f in catalogue()["bfcl"].files)
    (folder / "simple_python.jsonl").write_bytes(b"damaged")
    with pytest.raises(ResourceMissing, match=r"simple_python\.jsonl is damaged"):
        verify("bfcl")
    with pytest.warns(UserWarning, match="simple_python.jsonl is damaged"):
        locate("bfcl")
    verify("bfcl")
