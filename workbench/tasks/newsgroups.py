"""20 Newsgroups: which of twenty groups a post was sent to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.errors import BadInput
from workbench.core.seeds import derive
from workbench.tasks.base import Sizes, TaskData, register
from workbench.tasks.content import check_rows, size_of
from workbench.tasks.text import TextClassification

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.models.base import ModelSpec

GROUPS = (
    "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware",
    "comp.sys.mac.hardware", "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles",
    "rec.sport.baseball", "rec.sport.hockey", "sci.crypt", "sci.electronics", "sci.med", "sci.space",
    "soc.religion.christian", "talk.politics.guns", "talk.politics.mideast", "talk.politics.misc",
    "talk.religion.misc",
)  # fmt: skip
ROWS = {"train": 11_293, "test": 7528}


def read_posts(path: Path, task: str, expected: int) -> list[tuple[str, int]]:
    """(text, group index) of each row; three header lines, then ``group TAB text`` with no quoting."""
    rows = []
    for number, line in enumerate(path.read_text("utf-8", "replace").split("\n")[3:], 4):
        if not line.strip():
            continue
        group, tab, text = line.rstrip("\r").partition("\t")
        if not tab or group not in GROUPS:
            raise BadInput("data", task, f"a group and a text on line {number} of {path.name}; the file is truncated")
        rows.append((text, GROUPS.index(group)))
    check_rows(task, len(rows), expected, path.name)
    return rows


@register
class Newsgroups(TextClassification):
    name = "newsgroups"
    title = "20 Newsgroups topics"
    doc = "Which of twenty newsgroups is a post from? At the default size a linear probe beats full tuning."
    labels = GROUPS
    assets = ("newsgroups",)
    default_length = 96

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        import numpy as np

        from workbench.assets import locate

        self.check(model)
        folder, taken = locate("newsgroups"), {}
        for part, asked, default in (("train", sizes.train, 1500), ("test", sizes.test, 1000)):
            rows = read_posts(folder / f"20newsgroups-{part}.tab", self.name, ROWS[part])
            count = size_of(self.name, part, asked, default, len(rows))
            order = np.random.default_rng(derive(seed, "split", self.name, part)).permutation(len(rows))
            taken[part] = [rows[i] for i in order[:count]]
        described = (
            f"the published split by date, seeded draw of {len(taken['train'])} train / {len(taken['test'])} test"
        )
        return self.encode(model, taken["train"], taken["test"], sizes, split=described, seed=seed)
