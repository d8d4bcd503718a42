"""node.yaml: what it says, and what is wrong with it."""
