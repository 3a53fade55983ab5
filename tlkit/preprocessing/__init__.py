"""Former place of the targets and the preprocessing, which `model.py` of projects made by 0.1 imports."""
