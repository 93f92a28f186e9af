"""`python -m rum_ray` is `rum-ray`."""

from rum_ray.cli.app import main

main()
