"""
Job times when the router avoids nodes whose GPU memory is in use, simulated.

    python -m benchmarks.utilization [--seeds N] [--jobs N]

Times are seconds from the submission of a job to its end: the median of the seeds. GPU memory in
use is harmless where a language model holds it permanently; where nodes thrash, jobs take three
times as long. The router learns the utilization once a minute. It then either leaves full nodes out
(over 0.9), or assumes that a job costs more the fuller a node is, up to twice as much.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from statistics import median

from attrs import evolve
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.routing import FIRST_SEED
from benchmarks.simulation import policies
from benchmarks.simulation.runs import run
from benchmarks.simulation.scenario import Scenario

POLICIES = {
    "off": policies.Ours,
    "left out": policies.LeavingOut,
    "costs more": policies.Penalising,
}

SCENARIOS = [
    Scenario("10 % full, harmless", full=0.1),
    Scenario("50 % full, harmless", full=0.5),
    Scenario("50 % full, 40 % load", full=0.5, load=0.4),
    Scenario("90 % full, 40 % load", full=0.9, load=0.4),
    Scenario("all full, harmless", full=1.0),
    Scenario("10 % thrash for 1 h", thrashing=0.1, episode=3600.0),
    Scenario("20 % thrash for 5 min", thrashing=0.2),
    Scenario("20 % thrash for 1 min", thrashing=0.2, episode=60.0),
    Scenario("20 % thrash, 40 % load", thrashing=0.2, load=0.4),
    Scenario("50 % thrash for 5 min", thrashing=0.5),
]
"""The load is 80 % unless the name says otherwise."""


def measure(job: tuple[Scenario, str, int]) -> tuple[float, float, float]:
    """The mean, median and 99th percentile of the job times of one run."""
    scenario, name, seed = job
    outcome = run(scenario, POLICIES[name], seed)
    return outcome.mean, outcome.quantile(0.5), outcome.quantile(0.99)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.utilization", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each scenario [default: 5]")
    parser.add_argument("--jobs", type=int, default=50_000, help="jobs in a run [default: 50000]")
    arguments = parser.parse_args()
    scenarios = [evolve(scenario, jobs=arguments.jobs) for scenario in SCENARIOS]
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
    jobs = list(product(scenarios, POLICIES, seeds))
    console = Console()
    with ProcessPoolExecutor() as pool:
        running = track(pool.map(measure, jobs), "simulating", len(jobs), console=console)
        measured = dict(zip(jobs, running, strict=True))
    table = Table(title=f"seconds, median of {arguments.seeds} seeds")
    for column in ("world", "policy"):
        table.add_column(column, no_wrap=True)
    for column in ("mean", "of off", "p50", "p99"):
        table.add_column(column, justify="right", no_wrap=True)
    for scenario in scenarios:
        off = median(measured[scenario, "off", seed][0] for seed in seeds)
        for name in POLICIES:
            figures = zip(*(measured[scenario, name, seed] for seed in seeds), strict=True)
            mean, p50, p99 = map(median, figures)
            table.add_row(
                scenario.name if name == "off" else "",
                name,
                f"{mean:.1f}",
                f"{mean / off:.2f} ×",
                f"{p50:.1f}",
                f"{p99:.1f}",
            )
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    main()
