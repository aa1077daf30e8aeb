"""What holds Deployments and autoscaling up.

Sources: Kubernetes, "Deployments" (Progressing, progressDeadlineSeconds), "Horizontal Pod
Autoscaling" (conditions), "Specifying a Disruption Budget".
"""

from __future__ import annotations

from collections.abc import Iterator

from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Cause, Finding, shown
from sealserve.deploy.kubernetes.live.fields import condition, name, number, text
from sealserve.deploy.kubernetes.live.seen import Seen, component_of, is_ready


def rolling(seen: Seen) -> Iterator[Finding]:
    """Rollouts past their deadline, autoscalers without metrics, budgets that allow nothing."""
    for deployment in seen.of("Deployment"):
        progress = condition(deployment, "Progressing")
        if text(progress, "reason") == "ProgressDeadlineExceeded":
            seconds = number(deployment, "spec", "progressDeadlineSeconds")
            what = f"the rollout of {name(deployment)} has not come on for {seconds} s"
            cure = "kubectl rollout undo goes back to the pods before; their policy must still be"
            yield Cause.DEADLINE.of(deployment, what, cure)
    for autoscaler in seen.of("HorizontalPodAutoscaler"):
        active = condition(autoscaler, "ScalingActive")
        if active.get("status") == "False" and "Metric" in text(active, "reason"):
            reason = shown(text(active, "message").rpartition(": ")[2])
            what = f"the autoscaler {name(autoscaler)} has no metric to scale by: {reason}"
            cure = (
                "install what gives the metrics (for CPU: metrics-server), or scale by hand with "
                "max_replicas as many as replicas"
            )
            yield Cause.NO_METRICS.of(autoscaler, what, cure).warning()
    for budget in seen.of("PodDisruptionBudget"):
        pods = [each for each in seen.pods() if component_of(each) == component_of(budget)]
        ready = sum(map(is_ready, pods))
        allowed = number(budget, "status", "disruptionsAllowed")
        if pods and not allowed and number(budget, "status", "expectedPods"):
            what = f"{name(budget)} lets no pod be moved away: {ready} of {len(pods)} are ready"
            cure = "mend the others first; a drained node waits for it"
            yield Cause.BUDGET.of(budget, what, cure).warning()
