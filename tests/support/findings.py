"""Findings of `neuroone doctor`."""

from neuroone.doctor.checks import Finding


def codes(findings: list[Finding] | Finding) -> list[str]:
    """Return the codes of one finding or several."""
    return [each.code for each in (findings if isinstance(findings, list) else [findings])]
