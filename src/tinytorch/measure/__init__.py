"""How fast it is and how fast it could be: samples, statistics, memory, machine, roofline."""
