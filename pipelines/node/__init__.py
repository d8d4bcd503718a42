"""The node of a hospital's network: takes images, segments them by rules, sends the results; nothing is ever lost."""
