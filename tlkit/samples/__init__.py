"""Sample data sets made from what Python packages ship."""
