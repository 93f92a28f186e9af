"""Results: from the outcome of a study to the numbers of its report."""
