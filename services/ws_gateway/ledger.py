"""The ledger lives with the runtime."""

from neuroone.runtime.ledger import *  # noqa: F403
