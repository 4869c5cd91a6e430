"""Several routers that share a fleet, compared with one in simulations: for benchmarks.routing."""

from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from statistics import median
from time import perf_counter

from attrs import frozen
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.simulation import policies, replicas, runs
from benchmarks.simulation.replicas import Event, Setting
from benchmarks.simulation.scenario import Scenario

FIRST_SEED = 2000


@frozen
class _Figures:
    """What is measured in a run: the mean and 99th percentile of job times, and jobs lost."""

    mean: float
    p99: float
    lost: int
    polls: int


def compare_replicas(
    scenarios: list[Scenario], counts: list[int], seeds: int, console: Console
) -> None:
    """
    Print the ratios of several routers' figures to those of one router, for each scenario; and in
    the first scenario, what it costs that one of them dies or that Redis is away.
    """
    events = [Event.DEATH, Event.AWAY, Event.NEVER]
    settings = {
        (scenario, Setting(count, event))
        for scenario in scenarios
        for count in counts
        for event in (Event.NOTHING, *(events if scenario is scenarios[0] else ()))
    }
    jobs = [
        (scenario, setting, seed)
        for scenario, setting in settings | {(scenario, None) for scenario in scenarios}
        for seed in range(FIRST_SEED, FIRST_SEED + seeds)
    ]
    jobs.sort(key=lambda job: -job[0].jobs * (job[1].replicas if job[1] else 1))
    measured = defaultdict[tuple[Scenario, Setting | None], dict[int, _Figures]](dict)
    began = perf_counter()
    with ProcessPoolExecutor(2) as pool:
        waiting = {pool.submit(_measure, *job): job for job in jobs}
        for done in track(as_completed(waiting), "simulating", len(waiting), console=console):
            scenario, setting, seed = waiting[done]
            measured[scenario, setting][seed] = done.result()
    table = Table(title=f"ratio to one router, median of {seeds} seeds (and the highest)")
    for column in ("scenario", "routers", "mean", "", "p99", "lost", "polls"):
        table.add_column(column, justify="left" if column == "scenario" else "right")

    def add(name: str, count: int, ours: dict[int, _Figures], base: dict[int, _Figures]) -> None:
        means = [ours[seed].mean / base[seed].mean for seed in base]
        tails = [ours[seed].p99 / base[seed].p99 for seed in base]
        lost = [sum(figures.lost for figures in each.values()) for each in (ours, base)]
        polls = [sum(figures.polls for figures in each.values()) for each in (ours, base)]
        table.add_row(
            name,
            str(count),
            f"{median(means):.3f}",
            f"{max(means):.3f}",
            f"{median(tails):.3f}",
            f"{lost[0]}:{lost[1]}" if any(lost) else "",
            f"{polls[0] / polls[1]:.2f}",
        )

    for scenario in scenarios:
        for count in counts:
            one, many = measured[scenario, None], measured[scenario, Setting(count)]
            add(scenario.name, count, many, one)
        if scenario is scenarios[0]:
            for count in counts:
                many = measured[scenario, Setting(count, Event.DEATH)]
                add(f"{scenario.name}, one dies", count, many, measured[scenario, None])
            for count in counts:
                away, never = (measured[scenario, Setting(count, event)] for event in events[1:])
                add(f"{scenario.name}, Redis away (to never there)", count, away, never)
    console.print(table)
    console.print(f"{len(jobs)} runs in {perf_counter() - began:.0f} s")


def _measure(scenario: Scenario, setting: Setting | None, seed: int) -> _Figures:
    if setting is None:
        run: runs.Run = runs.Run(scenario, policies.Ours, seed, queues=False)
    else:
        run = replicas.Replicated(scenario, setting, seed)
    outcome = run.outcome()
    return _Figures(outcome.mean, outcome.quantile(0.99), outcome.lost, run.polled)
