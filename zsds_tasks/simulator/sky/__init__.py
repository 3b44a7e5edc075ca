"""What is up there: stars, galaxies, what varies, explodes and moves, and what an exposure sees of it."""
