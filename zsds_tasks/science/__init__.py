"""How things are computed: one room per stage, pure, strangers to each other."""
