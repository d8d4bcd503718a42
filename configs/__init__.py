"""What bundles are made of: tasks, networks, losses and workflow templates, as YAML."""
