"""Callbacks for any Keras model: cyclical rates, warm restarts, one-cycle, and a recorder of every step."""
