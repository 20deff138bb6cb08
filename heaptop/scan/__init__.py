"""Looking at the live system without harming it: the pass over /proc, and reads that cannot hang their caller."""
