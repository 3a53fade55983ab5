"""What comes in: reading, preprocessing in the graph, and what an export says of its input."""
