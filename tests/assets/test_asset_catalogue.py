"""The catalogue is complete, torch-free, and says what is wrong with a request."""

import re
import subprocess
import sys

import pytest

from workbench import assets
from workbench.core.errors import UnknownName

NAMES = {
    "minilm", "smollm2", "efficientnet-lite0", "dinov2-small", "vader", "newsgroups", "bfcl", "fashion-mnist", "watch",
    "python-source",
}  # fmt: skip


def test_every_entry_is_pinned_hashed_and_licensed():
    known = assets.catalogue()
    assert set(known) == NAMES
    for asset in known.values():
        assert asset.title and asset.licence and asset.use, asset.name
        if asset.source == "stdlib:":
            continue
        assert re.fullmatch(r"(package|debian):[\w-]+==[\w.~-]+", asset.source), asset.source
        assert asset.files and asset.archive_size > 0 and asset.size > 0
        for sha256 in (asset.archive, *(f.sha256 for f in asset.files)):
            assert re.fullmatch(r"[0-9a-f]{64}", sha256), asset.name
        assert len({f.name for f in asset.files}) == len(asset.files)


def test_only_the_model_without_stated_origin_is_opt_in():
    assert [a.name for a in assets.catalogue().values() if a.opt_in] == ["dinov2-small"]


def test_unknown_name_gives_the_nearest():
    with pytest.raises(UnknownName, match="minilm"):
        assets.find("minilmm")


def test_listing_loads_neither_torch_nor_numpy():
    code = (
        "import sys; from workbench import assets; from workbench.models import models;"
        "from workbench.tasks import tasks;"
        "[assets.status(a) for a in assets.catalogue().values()]; models(); list(tasks);"
        "print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
