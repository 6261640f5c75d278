"""Contract checks that every method passes, shipped so that methods of other packages can be held to them."""

from workbench.testing.contract import CHECKS, MethodContract, checks_of
from workbench.testing.judged import Judged, judged
from workbench.testing.subject import Subject, subject_of

__all__ = ["CHECKS", "Judged", "MethodContract", "Subject", "checks_of", "judged", "subject_of"]
