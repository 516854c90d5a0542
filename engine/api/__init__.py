"""What `import genesys_engine as ge` offers, and the command line is built upon.

Everything here works in a notebook as in a program: nothing is printed, no handler of signals is
installed, nothing lives on after a call, and every error that a person can fix is a `GenesysError`.

    experiment    an experiment, read from a file or from tables, with all that is wrong with it
    session       runs started and resumed; studies; plans
    runs          a run's folder, read as frames
    designs       one design of a run
    blocks        the check of a block: a file, a source, a class
    models        a design with its trained weights
    studies       a study's folder, read as frames
    frames        the columns of the frames, with their types and units
    failures      what the machine refuses, as errors of ours

May import every room but `cli`.  `genesys_engine/__init__.py` lists the public names.
"""
