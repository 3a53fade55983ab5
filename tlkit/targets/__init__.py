"""Targets: labels, losses, answers and metrics of what is predicted."""
