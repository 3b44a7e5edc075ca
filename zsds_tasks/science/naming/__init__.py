"""Names of objects on the sky: their grammar, and who gets which."""
