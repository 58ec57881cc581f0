"""Search for better options of a recipe, on inner folds before the held-out period of the gate."""
