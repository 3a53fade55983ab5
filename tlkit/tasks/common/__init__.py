"""What the reports and cards of all tasks have in common."""
