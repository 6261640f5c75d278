"""Who may use a notebook server: whoever has the token that it was started with, whatever a configuration says."""

from __future__ import annotations

import os
from typing import Any

from jupyter_server.auth.identity import IdentityProvider
from traitlets import validate

#: Taken out of the environment, so that no kernel and nothing that it starts inherits it.
TOKEN = os.environ.pop("JUPYTER_TOKEN", "")
if not TOKEN:
    raise RuntimeError("a server of pintpot needs a token")


class Owner(IdentityProvider):
    """Lets in the owner of the token. A user's file could name another one, or none, and the command line is public."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(**{**traits, "token": TOKEN})

    @validate("token")
    def _ours(self, proposal: Any) -> str:
        return TOKEN
