"""What is searched, and by what it is judged; how, is `rum_ray.cluster.tune`."""
