"""How data differ from those that a model was validated on."""
