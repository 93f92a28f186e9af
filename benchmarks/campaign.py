"""64 models under Ray, two workers of one thread each, against a bare Python loop of one thread."""

from statistics import median

from _harness import compared, save
from _stage import Comparison

comparison = Comparison(models=64, epochs=16, processes=1)


def main() -> None:
    """Measure, print and keep."""
    rates = comparison.rates(repetitions=2)
    fixed = median(comparison.fixed)
    row = compared(
        f"campaign of 64 models, 2 workers of 1 thread, beyond a fixed {fixed:.0f} s",
        ">= 1.85 x",
        rates,
        "Ray",
        "bare",
        "bare Python loop, 1 thread",
    )
    save("campaign", [row], rates, "models", epochs=comparison.epochs, fixed=comparison.fixed)


if __name__ == "__main__":
    main()
