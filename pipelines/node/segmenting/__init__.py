"""Jobs to results, in a process apart."""
