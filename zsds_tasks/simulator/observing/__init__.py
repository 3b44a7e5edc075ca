"""When and where the telescope looks, and under which skies."""
