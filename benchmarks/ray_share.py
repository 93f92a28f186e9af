"""What Ray takes of a stage whose jobs last a second or more: the same jobs in bare processes."""

from statistics import median

from _harness import Row, compared, save
from _stage import Comparison

comparison = Comparison(models=12, epochs=100, processes=2)


def main() -> None:
    """Measure, print and keep."""
    rates = comparison.rates(repetitions=2)
    bare, beside = "the same jobs in 2 bare processes", [100 * each for each in comparison.beside]
    rows = [
        compared(
            "Ray's share of a stage of jobs of 1 s, beyond its fixed cost",
            *("<= 2 %", rates, "Ray", "bare", bare),
            lambda ratio: 100 * (1 - ratio),
        ),
        compared(
            "time of a stage of jobs of 1 s, beyond its fixed cost",
            *("<= 1.15 x", rates, "Ray", "bare", bare),
            lambda ratio: 1 / ratio,
        ),
        Row(
            "CPU time of all processes but the workers, during the stage",
            *("<= 8 %", "2 cores", median(beside), min(beside), max(beside)),
        ),
    ]
    seconds = 2 / max(rates["bare"])
    print(f"a job takes {seconds:.2f} s or more")
    save("ray_share", rows, rates, "models", epochs=comparison.epochs, fixed=comparison.fixed)


if __name__ == "__main__":
    main()
