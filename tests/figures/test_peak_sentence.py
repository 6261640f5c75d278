"""The sentence that explains a peak says what the trace says, of a real prediction as of a made-up one."""

import re

import pytest
import synthetic

from workbench import figures
from workbench.case import Case
from workbench.core.profile import Tier
from workbench.core.units import format_size

SENTENCE = re.compile(
    r"The peak of (?P<peak>.+?) is reached in the (?P<phase>\w+) phase at "
    r"(?P<operator>[^;]+?)(?: in (?P<module>[^;]+))?; "
    r"(?P<part>.+?) of it \((?P<share>\d+)%\) is (?P<category>.+)\."
)


@pytest.fixture(scope="module", params=["lora", "full", "made up"])
def profile(request):
    if request.param == "made up":
        return synthetic.profile("full", Tier.PROBE)
    return Case("tokens", "tiny-bert", request.param, batch=4, length=32).predict()


def test_the_sentence_names_the_highest_moment(profile):
    said = SENTENCE.fullmatch(profile.sentence())
    assert said, profile.sentence()
    top = max(profile.timeline, key=lambda moment: moment.total)
    assert top.total == profile.peak and said["peak"] == format_size(top.total)
    assert said["phase"] == top.phase and said["operator"] == top.operator and (said["module"] or "") == top.module
    category, size = max(top.live.items(), key=lambda item: item[1])
    assert said["category"] == category and said["part"] == format_size(size)
    assert int(said["share"]) == round(100 * size / top.total)


def test_the_drawing_marks_that_moment(profile):
    from dataclasses import replace

    record = replace(synthetic.run("full", 0), measured=None, predicted=profile)
    (step,) = figures.timeline([record]).steps
    live = [sum(step.live[c][i] for c in step.live) for i in range(len(step.events))]
    assert live[step.peak_index] == max(live) == step.peak
    assert step.peak_sentence == profile.sentence()
