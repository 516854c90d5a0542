"""The one place for isolation: no code of a candidate ever runs outside it.

    engine process            template process            one process per job
    `SandboxHost` --socket--> `Template`: warm, --fork--> `run_child`: isolate, then
    queue, futures,           watches deadlines,          "module:function"(payload, scratch)
    second guard              kills groups and orphans    and one JSON object back on a pipe

`protocol` says what may be sent and how much of it, `judge` turns a job's end into an
`Outcome`, `child.isolate` is the list of measures, and `sandbox_status` tells which are active.
"""

from genesys_engine.gab.sandbox.host import SandboxHost
from genesys_engine.gab.sandbox.protocol import Limits, Outcome
from genesys_engine.gab.sandbox.status import Measure, sandbox_status

__all__ = ["Limits", "Measure", "Outcome", "SandboxHost", "sandbox_status"]
