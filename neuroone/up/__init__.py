"""`neuroone up`: the whole system on one machine, as child processes."""
