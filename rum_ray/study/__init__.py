"""Studies: the jobs of an experiment, their order, and the executors that run them."""
