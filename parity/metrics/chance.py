"""Defines the probability with which a claim may fail by chance, and intervals of counts."""

from __future__ import annotations

from modelparity.parity.results import DecisionRecord

FALSE_ALARMS = 1e-3  # probability that a claim about a right file fails by chance alone
CONFIDENCE = 0.95  # one-sided for shares, two-sided for means


def most_likely_share(changed: int, of: int) -> float:
    """The upper end of the 95 % interval of a share, 0..1, of which `changed` of `of` were seen.

    One-sided (Clopper and Pearson, Biometrika 26, 1934), so that nothing seen still leaves a bound.
    """
    from scipy.stats import beta

    return 1.0 if changed >= of else float(beta.isf(1 - CONFIDENCE, changed + 1, of - changed))


def changed_decisions(name: str, plural: str, changed: int, of: int) -> DecisionRecord:
    """With the upper end of the share's interval."""
    return DecisionRecord(name, plural, changed, of, float(f"{most_likely_share(changed, of):.3g}"))
