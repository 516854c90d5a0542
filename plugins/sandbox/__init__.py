"""The one place for isolation: no code of a candidate ever runs outside it.

    engine process            template process            one process per job
    `SandboxHost` --socket--> `Template`: warm, --fork--> `run_child`: isolate, then
    queue, futures,           watches deadlines,          "module:function"(payload, scratch)
    second guard              kills groups and orphans    and one JSON object back on a pipe
                                          --fork--> `run_subject`, where the job asks for one: a
                                                    candidate's code, asked over a `channel`

`protocol` says what may be sent and how much of it, `judge` turns a job's end into an
`Outcome`, `child.isolate` is the list of measures, `isolation` says which of them hold here and
what level that makes, and `sandbox_status` tells it to a person.  What decides is computed in the
job and never in its `subject`, the only process that runs a candidate's code.  What is left of a
job is its scratch folder: `scratch` takes files out of it and removes it.  docs/sandbox.md
explains it all.
"""

from genesys_engine.plugins.sandbox.host import SandboxHost
from genesys_engine.plugins.sandbox.isolation import LEVELS, Isolation, Level, isolation_here
from genesys_engine.plugins.sandbox.protocol import Limits, Outcome
from genesys_engine.plugins.sandbox.status import Measure, sandbox_status

__all__ = [
    "LEVELS",
    "Isolation",
    "Level",
    "Limits",
    "Measure",
    "Outcome",
    "SandboxHost",
    "isolation_here",
    "sandbox_status",
]
