"""What may enter the observations: the contract applied, and the rows it refused."""
