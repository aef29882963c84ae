"""Training: one plain loop, and the optimiser it uses."""
