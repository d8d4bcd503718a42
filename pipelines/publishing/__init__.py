"""A run made ready to be passed on: its weights, what they have seen, and a model card of its evaluations."""
