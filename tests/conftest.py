"""Fixtures every test may use."""

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow; no property fails for that.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def pulled():
    """``pulled(NAME)`` gives an asset's folder, or skips the test saying why it cannot be had."""
    from workbench.assets import locate
    from workbench.core.errors import ResourceMissing

    def have(name, **options):
        try:
            return locate(name, **options)
        except ResourceMissing as error:
            pytest.skip(str(error))

    return have
