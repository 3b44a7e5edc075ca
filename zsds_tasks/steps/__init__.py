"""What is read and written: one file per stage; a step reads, computes, checks, writes."""
