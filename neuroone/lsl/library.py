"""Find out whether LSL can be used here, before anything else imports it."""

from neuroone.contract.errors import SettingsError
from neuroone.service import extras

EXTRA = "lsl"


def check(what: str) -> None:
    """Raise SettingsError if ``what`` cannot be done: pylsl is not installed, or does not find liblsl."""
    extras.check(what, "pylsl", EXTRA)
    try:
        import pylsl  # noqa: F401 (it looks for liblsl)
    except (ImportError, OSError, RuntimeError):
        raise SettingsError(
            [
                f"{what} needs liblsl, which pylsl does not bring for this computer: install it "
                "(conda-forge, Homebrew, or github.com/sccn/liblsl/releases) and set PYLSL_LIB to its file"
            ]
        ) from None
