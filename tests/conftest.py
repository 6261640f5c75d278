"""Fixtures every test may use."""

import pytest


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
