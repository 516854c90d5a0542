"""A finished run as a study compares it: its fitness over its cost."""

from __future__ import annotations

from statistics import fmean

from genesys_engine.engine.compare.results import FinishedRun, Used
from genesys_engine.engine.config.schema import PopulationSection
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.llm import llm_view


def series_of(store: Store, population: PopulationSection, *, cap: str = "") -> FinishedRun:
    """Return the fitness of a run over its training tokens.

    A design's gain is in percent over the reference, averaged over its rungs.  The reference has
    gain 0 and leads until a better design is found, so `best_so_far` starts at 0 and never falls
    below it: a run that finds nothing ends at 0 and does not rank above one whose designs are
    worse than the reference.  `costs` are the training tokens up to each verification of another
    design, `evaluations` the trainings of children.  `best_so_far` falls when a leader disappoints
    at a higher rung; `best` is its last value.  `mean` is the mean gain of all
    designs except the reference, None without any.

    `generations` is the mean gain of the population: of the seeds and then, after every
    `population.offspring` verified children, of the `population.size` most recently verified
    designs, whatever the run's mode and selector (the members of the published "population 50,
    step 25" are not known).  `valid` of `made` children passed their check.  `used` is the usage
    that a study can cap, `device` the devices of the verifications.

    Args:
        population: of the study, not of the arm: all arms are measured in the same steps.
        cap: the budget that ended the run, "" if none did.
    """
    reference = store.meta("reference", 0)
    designs = list(store.designs())
    seeds = {row.id for row in designs if row.operator.startswith("seed:")}
    standing = {reference: 0.0}  # in the order of the first verifications
    by_rung: dict[int, dict[int, float]] = {}
    generations: list[float] = []
    children = spent = 0
    costs, best, evaluations = [0], [0.0], [0]
    trained = 0
    fresh: dict[int, list[float]] = {}
    devices: set[str] = set()

    def close_generation() -> None:
        if children % population.offspring == 0:
            generations.append(fmean(list(standing.values())[-population.size :]))

    for row in store.verifications():
        spent += row.tokens
        if device := row.facts.get("device"):
            devices.add(str(device))
        if is_fresh(row.replicate):
            if row.design not in seeds and row.fitness is not None:
                fresh.setdefault(row.design, []).append(row.fitness)
            continue
        trained += row.design not in seeds
        if row.fitness is None or row.design == reference or row.replicate:
            continue
        if row.design not in standing and row.design not in seeds:
            close_generation()
            children += 1
        rungs = by_rung.setdefault(row.design, {})
        rungs[row.rung] = row.fitness
        standing[row.design] = fmean(rungs.values())
        costs.append(spent)
        best.append(max(standing.values()))
        evaluations.append(trained)
    close_generation()
    found = [gain for design, gain in standing.items() if design != reference]
    llm = llm_view(store).total
    made = [row for row in designs if row.id not in seeds]
    return FinishedRun(
        costs=tuple(costs),
        best_so_far=tuple(best),
        generations=tuple(generations),
        spent=spent,
        best=best[-1],
        mean=fmean(found) if found else None,
        made=len(made),
        valid=sum(row.accepted for row in made),
        used=Used(
            llm_tokens=llm.tokens,
            llm_usd=llm.usd,
            device_s=float(store.meta("device_s", 0.0)),
            wall_s=float(store.meta("wall_s", 0.0)),
        ),
        device=tuple(sorted(devices)),
        cap=cap,
        evaluations=tuple(evaluations),
        retrained=max(map(fmean, fresh.values()), default=None),
    )
