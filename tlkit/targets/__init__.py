"""What is predicted: each target knows its labels, its loss, its answers and its metrics."""
