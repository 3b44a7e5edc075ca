"""How good is what came? Measures of frames, pure and quick."""
