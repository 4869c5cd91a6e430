"""
Jobs under this router and under other routing policies while nodes change, simulated.

    python -m benchmarks.changes [--seeds N]

Nodes crash, stand still for a minute, or become faster, halfway through a run. Or the router starts
beside another one, whose jobs it only sees in reports. Nodes are polled as often as the router does
by default. The times are those of jobs after the change, as ratios to the oracle, which sees every
queue and which nodes work: medians of the seeds. All other figures are means of the seeds.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from statistics import fmean, median

from attrs import evolve, frozen
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.routing import FIRST_SEED, POLICIES
from benchmarks.simulation.runs import STALL, Outcome, run
from benchmarks.simulation.scenario import Scenario


def nothing(scenario: Scenario, outcome: Outcome) -> list[float]:
    """No figure."""
    return []


def lost(scenario: Scenario, outcome: Outcome) -> list[float]:
    """The share of jobs, in percent, that failed in the three minutes after the change."""
    jobs = outcome.after_change(0.0, 180.0)
    return [100.0 * fmean(job.lost for job in jobs)]


def shares(scenario: Scenario, outcome: Outcome) -> list[float]:
    """
    The jobs of a node that changed, as a multiple of an equal share, in each of five minutes.

    They begin with the change, or where nodes stand still, with their recovery.
    """
    changed = scenario.stalling or scenario.boosted
    since = STALL if scenario.stalling else 0.0
    minutes = (outcome.after_change(t, t + 60.0) for t in (since + 60.0 * n for n in range(5)))
    return [
        fmean(job.node < changed for job in jobs) * scenario.nodes / changed for jobs in minutes
    ]


@frozen
class Experiment:
    """Scenarios that are measured in the same way."""

    title: str
    scenarios: list[Scenario]
    columns: tuple[str, ...] = ()
    figures: Callable[[Scenario, Outcome], list[float]] = nothing
    """What is measured beside the times, one for each column."""


_MINUTES = ("minute 1", "2", "3", "4", "5")
_EQUAL = Scenario("equally fast", speeds=(1.0, 1.0), unmeasured=0.5).at_defaults()
_STARTED = Scenario("start", jobs=3000, unmeasured=0.0).at_defaults()

EXPERIMENTS = [
    Experiment(
        "nodes crash: jobs lost in the three minutes after that",
        [
            evolve(_EQUAL, name="1 of 10", nodes=10, load=0.6, crashing=1, jobs=2400),
            evolve(_EQUAL, name="1 of 3", nodes=3, load=0.6, crashing=1, jobs=720),
            evolve(
                _EQUAL, name="1 of 2, 2 slots", nodes=2, slots=2, load=0.4, crashing=1, jobs=640
            ),
            evolve(_EQUAL, name="5 of 10", nodes=10, load=0.4, crashing=5, jobs=1600),
        ],
        ("lost, %",),
        lost,
    ),
    Experiment(
        "nodes stand still for a minute: their jobs after that, over an equal share",
        [
            evolve(_EQUAL, name="1 of 10", nodes=10, load=0.4, stalling=1, jobs=1600),
            evolve(_EQUAL, name="1 of 2", nodes=2, load=0.4, stalling=1, jobs=400),
            evolve(_EQUAL, name="5 of 50", nodes=50, stalling=5, jobs=16_000),
        ],
        _MINUTES,
        shares,
    ),
    Experiment(
        "a node becomes ten times faster: its jobs, over an equal share",
        [
            evolve(_EQUAL, name="1 of 10, 60 %", nodes=10, load=0.6, boosted=1, jobs=2400),
            evolve(_EQUAL, name="1 of 10, 40 %", nodes=10, load=0.4, boosted=1, jobs=1600),
        ],
        _MINUTES,
        shares,
    ),
    Experiment(
        "the router starts: the first 3000 jobs",
        [
            evolve(_STARTED, name="with the fleet"),
            evolve(_STARTED, name="watching 5 minutes", watching=300.0),
        ],
    ),
]


SHOWN = [name for name in POLICIES if name not in ("random", "told speeds")]


def measure(job: tuple[Experiment, Scenario, str, int]) -> list[float]:
    """The mean and the 99th percentile of the job times of one run, then its other figures."""
    experiment, scenario, name, seed = job
    outcome = run(scenario, POLICIES[name], seed)
    return [outcome.mean, outcome.quantile(0.99), *experiment.figures(scenario, outcome)]


def tabulate(experiment: Experiment, runs: dict[tuple[str, str], list[list[float]]]) -> Table:
    """
    The table of an experiment.

    :param runs: by scenario and policy, the measured runs in the order of their seeds.
    """
    table = Table("scenario", "policy", title=experiment.title, title_justify="left")
    for column in ("mean", "p99", *experiment.columns):
        table.add_column(column, justify="right", no_wrap=True)
    for scenario in experiment.scenarios:
        oracle = runs[scenario.name, "oracle"]
        for name in SHOWN:
            mine = runs[scenario.name, name]
            ratios = (
                median(a[n] / b[n] for a, b in zip(mine, oracle, strict=True)) for n in (0, 1)
            )
            others = map(fmean, list(zip(*mine, strict=True))[2:])
            table.add_row(
                scenario.name if name == SHOWN[0] else "",
                name,
                *(f"{figure:.2f}" for figure in (*ratios, *others)),
                style="bold" if name == "ours" else None,
                end_section=name == SHOWN[-1],
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.changes", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each scenario [default: 20]")
    seeds = range(FIRST_SEED, FIRST_SEED + parser.parse_args().seeds)
    console = Console()
    with ProcessPoolExecutor() as pool:
        for experiment in EXPERIMENTS:
            jobs = list(product([experiment], experiment.scenarios, SHOWN, seeds))
            measured = pool.map(measure, jobs)
            runs: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
            for (_, scenario, name, _), figures in zip(
                jobs, track(measured, "simulating", len(jobs), console=console), strict=True
            ):
                runs[scenario.name, name].append(figures)
            console.print(tabulate(experiment, runs))


if __name__ == "__main__":
    main()
