"""Facts of a camera and a survey that never change during a run; light imports only."""
