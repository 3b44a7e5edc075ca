"""From scored candidates to alert packets: which trigger, what goes into a packet, its bytes."""
