"""Search spaces of plans, and the objective. `rum_ray.cluster.tune` runs the search."""
