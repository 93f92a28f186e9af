"""An experiment on its data: which jobs it takes, and what follows from them."""
