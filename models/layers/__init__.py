"""Network layers, implemented from their published equations, for any batch, grid and number of stations."""
