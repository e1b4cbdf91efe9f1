"""The limit of open files of this process."""

import contextlib


def allow_many_files(otherwise: int = 512) -> int:
    """Raise the limit of open files as far as the system allows; return it, ``otherwise`` where it is not known."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return otherwise if most == resource.RLIM_INFINITY else most
    return otherwise
