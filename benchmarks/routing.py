"""
Job times under this router and under other routing policies, simulated.

    python -m benchmarks.routing [--all] [--seeds N] [--jobs N] [--plot FILE] [SCENARIO…]
    python -m benchmarks.routing --replicas 3,10 [--seeds N] [--jobs N] [SCENARIO…]

Each figure is a ratio to the oracle, which sees the current state of every queue. Ratios are the
median over the seeds; for the mean, the range is shown too. A job's time is from submission to end.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from attrs import evolve
from rich.console import Console, JustifyMethod
from rich.progress import track
from rich.table import Table

from benchmarks.simulation import policies
from benchmarks.simulation.comparison import compare_replicas
from benchmarks.simulation.prequal import Prequal
from benchmarks.simulation.runs import Outcome, Policy, run
from benchmarks.simulation.scenario import Lognormal, Scenario
from benchmarks.simulation.world import World

POLICIES: dict[str, Callable[[World, Random], Policy]] = {
    "least pending": policies.LeastPending,
    "random": policies.AtRandom,
    "two choices": policies.TwoChoices,
    "local count": policies.LocalCount,
    "Prequal": Prequal,
    "ours": policies.Ours,
    "told speeds": policies.Told,
    "oracle": policies.Oracle,
}
A, B, C = ({name} for name in "abc")

SCENARIOS = [
    Scenario("base"),
    Scenario("homogeneous", speeds=(1.0, 1.0)),
    Scenario("background", around=0.3),
    Scenario("95 % load", load=0.95),
    Scenario("30 s polls", interval=30.0),
    Scenario("ghosts", ghosts=0.3),
    Scenario("slow-down", slowing=5),
    Scenario("500 nodes", nodes=500, jobs=100_000),
    Scenario("instant failers", failing=2),
]
"""The scenarios for which the router has targets."""

MORE = [
    Scenario("1 s polls", interval=1.0),
    Scenario("3 nodes", nodes=3),
    Scenario("speed-up", quickening=5),
    Scenario("late clients", late=1.0),
    Scenario("4 slots", slots=4),
    Scenario("speeds 10 ×", speeds=(0.32, 3.2)),
    Scenario("heavy tail", work=Lognormal(1.5)),
    Scenario("bursts", load=0.7, burst=0.6),
    Scenario("placed", placed=0.6, asked=tuple(map(frozenset, (A, B, C, A | B, B | C))), load=0.7),
    Scenario("half load", load=0.5),
    Scenario("failers in 10", nodes=10, failing=1),
    Scenario("failers, 1 s polls", failing=2, interval=1.0),
    Scenario("failers, half load", failing=2, load=0.5),
    Scenario("10 nodes", nodes=10),
    Scenario("crash", crashing=2),
    Scenario("stall", stalling=2),
]
"""Further scenarios, with --all or by name."""

AT_DEFAULTS = {
    scenario.name: evolve(scenario, name=f"{scenario.name}, default").at_defaults()
    for scenario in SCENARIOS + MORE
    if scenario.interval == Scenario("any").interval
}
"""Those scenarios that do not vary the polls, polled as often as the router does by default."""

DEFAULT_SET = SCENARIOS + [
    AT_DEFAULTS[name]
    for name in ("base", "homogeneous", "background", "95 % load", "ghosts", "500 nodes")
]

FOR_REPLICAS = (
    *("base", "background", "bursts", "95 % load", "10 nodes", "instant failers", "500 nodes"),
    *("1 s polls", "30 s polls", "base, default", "crash", "stall"),
)
"""The scenarios with which several routers are compared with one."""

FIRST_SEED = 1000
"""The constants of the router's model were tuned on seeds below 100."""


def measure(scenario: Scenario, name: str, seed: int) -> tuple[float, float, float, float]:
    """The mean, median and 99th percentile of the job times, and the share of jobs lost."""
    outcome = run(scenario, POLICIES[name], seed)
    return outcome.mean, outcome.quantile(0.5), outcome.quantile(0.99), outcome.share_lost


def compare(scenarios: list[Scenario], seeds: int, console: Console) -> None:
    """Run every policy in every scenario, and print the table."""
    jobs = list(product(scenarios, POLICIES, range(FIRST_SEED, FIRST_SEED + seeds)))
    jobs.sort(key=lambda job: -job[0].jobs * job[0].nodes)
    measured: dict[tuple[str, str], dict[int, tuple[float, float, float, float]]]
    measured = defaultdict(dict)
    began = perf_counter()
    with ProcessPoolExecutor() as pool:
        runs = {pool.submit(measure, *job): job for job in jobs}
        for done in track(as_completed(runs), "simulating", len(runs), console=console):
            scenario, name, seed = runs[done]
            measured[scenario.name, name][seed] = done.result()
    table = Table(title=f"ratio to the oracle, median of {seeds} seeds (and the range of means)")
    for column in ("scenario", "policy", "mean", "", "p50", "p99", "lost"):
        justify: JustifyMethod = "left" if column in ("scenario", "policy") else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for scenario in scenarios:
        oracle = measured[scenario.name, "oracle"]
        for name in POLICIES:
            mine = measured[scenario.name, name]
            mean, p50, p99 = (
                [mine[seed][figure] / oracle[seed][figure] for seed in oracle]
                for figure in range(3)
            )
            lost = median(figures[3] for figures in mine.values())
            table.add_row(
                scenario.name if name == "least pending" else "",
                name,
                _ratio(mean),
                f"{_ratio([min(mean)])} - {_ratio([max(mean)])}",
                _ratio(p50),
                _ratio(p99),
                f"{lost:.1%}" if scenario.failing else "",
                style="bold" if name == "ours" else None,
            )
            if name == "oracle":
                table.add_section()
    console.print(table)
    console.print(f"{len(jobs)} runs in {perf_counter() - began:.0f} s")


def _ratio(ratios: list[float]) -> str:
    middle = median(ratios)
    return f"{middle:.2f}" if middle < 10 else f"{middle:.0f}"


def plot(scenario: Scenario, path: Path) -> list[Path]:
    """Plot job times and queues under least-pending and this router; gives the files' paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = {"least pending": "tab:red", "ours": "tab:blue", "oracle": "black"}
    outcomes = {name: run(scenario, POLICIES[name], FIRST_SEED, queues=True) for name in shown}
    figure, axes = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    for name, colour in shown.items():
        times = outcomes[name].times
        axes.step(times, [i / len(times) for i in range(len(times))], color=colour, label=name)
    axes.set(xscale="log", xlabel="seconds from submission to end", ylabel="share of jobs")
    axes.set(xlim=(0.1, max(outcomes["least pending"].times)), ylim=(0, 1))
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    axes.set_title(f"Job times: {scenario.nodes} nodes, {scenario.load:.0%} load, polled every 5 s")
    times_path = path.with_stem(f"{path.stem}-times")
    figure.savefig(times_path, dpi=110)

    figure, both = pyplot.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharey=True)
    for axes, name in zip(both, ("least pending", "ours"), strict=True):
        image = axes.imshow(
            _by_node(outcomes[name], seconds=120),
            aspect="auto",
            cmap="magma_r",
            norm="symlog",
            vmin=0,
            vmax=200,
            interpolation="nearest",
        )
        axes.set(title=name, xlabel="seconds")
    both[0].set_ylabel("node")
    figure.colorbar(image, ax=both, label="pending jobs")
    queues_path = path.with_stem(f"{path.stem}-queues")
    figure.savefig(queues_path, dpi=110)
    return [times_path, queues_path]


def _by_node(outcome: Outcome, seconds: int) -> list[list[int]]:
    """The queue of each node, second by second, from the middle of a run."""
    middle = len(outcome.queues) // 2
    return [list(queue) for queue in zip(*outcome.queues[middle : middle + seconds], strict=True)]


def main() -> None:
    known = {each.name: each for each in (*SCENARIOS, *MORE, *AT_DEFAULTS.values())}
    names = ", ".join(known).replace("%", "%%")
    parser = argparse.ArgumentParser(prog="benchmarks.routing", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=names, metavar="SCENARIO")
    parser.add_argument(
        "--all", action="store_true", help="all scenarios, not just the default set"
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each scenario [default: 5]")
    parser.add_argument("--jobs", type=int, help="jobs in a run [default: 50000]")
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="plot the first scenario instead, into files named after FILE",
    )
    parser.add_argument(
        "--replicas",
        metavar="N,N",
        help="compare so many routers that share a fleet with one, such as 3,10",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - known.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    chosen = [known[name] for name in arguments.scenarios] or (
        list(known.values()) if arguments.all else DEFAULT_SET
    )
    if arguments.jobs:
        chosen = [evolve(scenario, jobs=arguments.jobs) for scenario in chosen]
    console = Console()
    if arguments.replicas:
        counts = [int(text) for text in arguments.replicas.split(",")]
        few = [known[name] for name in arguments.scenarios or FOR_REPLICAS]
        few = [evolve(each, jobs=arguments.jobs or each.jobs * 2 // 5) for each in few]
        compare_replicas(few, counts, arguments.seeds, console)
    elif arguments.plot:
        for path in plot(chosen[0], arguments.plot):
            console.print(f"plotted: {path}")
    else:
        compare(chosen, arguments.seeds, console)


if __name__ == "__main__":
    main()
