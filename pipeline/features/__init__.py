"""From observations to the inputs of models: frames, the as-of join, windows, covariates."""
