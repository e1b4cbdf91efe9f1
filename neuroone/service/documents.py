"""Where recordings go when nobody has named a directory and the current one means nothing: a program was clicked."""

from pathlib import Path

import platformdirs


def recordings() -> Path:
    """Return the folder NeuroOne in the user's documents, wherever the system or OneDrive keeps these."""
    return platformdirs.user_documents_path() / "NeuroOne"
