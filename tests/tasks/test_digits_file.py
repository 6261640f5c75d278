"""The digits read from scikit-learn's file are those that scikit-learn gives."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from workbench.tasks.digits import pictures


def test_pictures_are_those_of_scikit_learn() -> None:
    images, labels = pictures()
    theirs = load_digits()
    assert np.array_equal(images, theirs.images) and np.array_equal(labels, theirs.target)
    assert images.dtype == np.uint8 and not images.flags.writeable
