"""The engine: the way of a design, from the experiment file to the report.

    select -> propose -> check -> train -> evaluate -> score -> store, and again

* `config`     the experiment file, checked
* `corpus`     text prepared once for every design
* `select`     what to do next: policy, parents, ladder, state
* `propose`    operators asked for a child; `llm` is their way to language models
* `check`      the child judged in a worker; a leader confirmed
* `train`, `evaluate`   one design at one rung with one seed, in two workers
* `score`      gains, noise, finals, verdict
* `store`      the run's folder
* `loop`       sends designs through all of these, in one order of decisions
* `run`        puts a run together; starts, resumes, extends and finishes it
* `views`, `report`, `export`, `compare`, `cli`   show what came of it
* `jobs`, `common`   what all of them use

docs/architecture.md says who may import whom; `make lint` holds the code to it.
"""
