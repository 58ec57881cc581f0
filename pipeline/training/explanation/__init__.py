"""What the forecasts of a model rest on: the loss of accuracy when a part of the input is withheld."""
