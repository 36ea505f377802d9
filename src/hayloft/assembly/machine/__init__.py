"""A whole cluster on one machine: ``hayloft cluster up`` and ``hayloft cluster status``."""
