"""The engine: the loop that evolves designs, and everything that a run needs around it.

Read in this order:

* `config`      the experiment file, checked
* `run`         puts a run together from an experiment: corpus, plugins, store, loop
* `evolution`   the loop: decide, hand out, collect, apply
* `policy`      what to do next; `selection` and `ladder` are the choices inside it
* `designer`, `verifier`   carry a decision out, away from the loop
* `outcomes`    what a result does to the state (`state`) and to the log (`events`)
* `store`       the run folder; `restore` rebuilds the state from it
* `corpus`      prepares text once for every design
* `views`, `progress`, `report`   show a run
* `cli`         the command line
"""
