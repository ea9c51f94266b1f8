"""The deployment gate: is a candidate good enough, and better than what is in use?"""

from collections.abc import Mapping
from dataclasses import dataclass

from flightdelays.settings import Settings, get_settings


@dataclass(frozen=True)
class Decision:
    """Whether to deploy, and every reason against it (none if it passes)."""

    deploy: bool
    reasons: list[str]


def gate(
    candidate: Mapping[str, float],
    champion: Mapping[str, float] | None,
    settings: Settings | None = None,
) -> Decision:
    """Decide on deployment: good enough in itself, and better than the champion on the same rows.

    Both AUC and PR-AUC must reach the settings' floors. Accuracy is no criterion: saying
    "never late" scores 0.87 in September.
    """
    settings = settings or get_settings()
    reasons = [
        f"{label} {candidate[key]:.4f} is below the gate of {floor:.2f}"
        for label, key, floor in (
            ("AUC", "auc", settings.gate_auc),
            ("PR-AUC", "pr_auc", settings.gate_pr_auc),
        )
        if not candidate[key] >= floor
    ]
    if champion is not None and not candidate["pr_auc"] > champion["pr_auc"]:
        reasons.append(
            f"PR-AUC {candidate['pr_auc']:.4f} is no better than the champion's "
            f"{champion['pr_auc']:.4f} on the same rows"
        )
    return Decision(deploy=not reasons, reasons=reasons)
