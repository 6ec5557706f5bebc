"""`python -m benchmarks [NAME …]`: run the measurements and print one table."""

import sys

from benchmarks import hooks, many_runs, overhead, reading, scaffolding, slurm, startup

_ALL = {
    "reading": reading.measure,
    "startup": startup.measure,
    "many-runs": many_runs.measure,
    "scaffolding": scaffolding.measure,
    "overhead": overhead.measure,
    "hooks": hooks.measure,
    "slurm": slurm.measure,
}


def main() -> None:
    print(f"{'what':52} {'measured':>12} {'promised':>12}")
    for name in sys.argv[1:] or _ALL:
        for what, measured, promised in _ALL[name]():
            print(f"{what:52} {measured:>12} {promised:>12}")


if __name__ == "__main__":
    main()
