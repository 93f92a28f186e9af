"""What Ray takes of a stage whose jobs last a second or more: the same jobs in bare processes."""

from _harness import compared, save
from _stage import Comparison

comparison = Comparison(models=12, epochs=100, processes=2)


def main() -> None:
    """Measure, print and keep."""
    rates = comparison.rates(repetitions=2)
    row = compared(
        "Ray's share of a stage of jobs of 1 s, beyond its fixed cost",
        "<= 2 %",
        rates,
        "Ray",
        "bare",
        "the same jobs in 2 bare processes",
        lambda ratio: 100 * (1 - ratio),
    )
    seconds = 2 / max(rates["bare"])
    print(f"a job takes {seconds:.2f} s or more")
    save("ray_share", [row], rates, "models", epochs=comparison.epochs, fixed=comparison.fixed)


if __name__ == "__main__":
    main()
