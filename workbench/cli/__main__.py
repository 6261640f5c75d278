"""``python -m workbench.cli`` is ``pintpot``."""

from workbench.cli import main

main()
