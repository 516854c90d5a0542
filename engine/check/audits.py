"""Audits of several targets, one after the other, from one warm template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from genesys_engine.engine.check import audit
from genesys_engine.engine.common.temporary import temporary_folder
from genesys_engine.plugins.sandbox.host import SandboxHost


def audit_all(
    targets: Sequence[audit.Target],
    *,
    class_name: str,
    d_model: int,
    layers: int,
    context: int,
    fast: bool,
) -> Iterator[audit.AuditResult]:
    """Yield the result of each target in its turn; any module that maps X to its shape is adapted.

    They never run at the same time: seconds are measured, and each is compared with a reference.
    `fast` leaves that out; the other arguments are those of `plugins.auditor.audit.Order`.

    Raises:
        EnvironmentProblem: the machine could not run an audit.
    """
    runnable = [target for target in targets if target.refused is None]
    if not runnable:  # nothing to run: spare the worker
        yield from map(audit.read_refusal, targets)
        return
    preload = audit.preload_for("\n".join(target.source for target in runnable))
    with (
        temporary_folder("check") as scratch,  # removed when no job writes there any more
        closing(SandboxHost(workers=1, preload=preload)) as host,
    ):
        for number, target in enumerate(targets):
            folder = scratch / str(number)
            folder.mkdir()
            yield audit.audit(
                target,
                host,
                scratch=folder,
                adapt=True,
                class_name=class_name,
                d_model=d_model,
                layers=layers,
                context=context,
                level="fast" if fast else "full",
                reference_seed="" if fast else audit.REFERENCE,
            )
