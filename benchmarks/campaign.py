"""64 models under Ray, two workers of one thread each, against a bare Python loop of one thread."""

from statistics import median

from _harness import Row, ratio, save
from _stage import Comparison

comparison = Comparison(models=64, epochs=25, processes=1)


def main() -> None:
    """Measure, print and keep."""
    rates = comparison.rates(repetitions=3)
    fixed = median(comparison.fixed)
    row = Row(
        f"campaign of 64 models, 2 workers of 1 thread, beyond a fixed {fixed:.0f} s",
        ">= 1.85 x",
        "bare Python loop, 1 thread",
        ratio(rates, "Ray", "bare"),
    )
    save("campaign", [row], rates, "models", epochs=comparison.epochs, fixed=comparison.fixed)


if __name__ == "__main__":
    main()
