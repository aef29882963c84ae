"""One file per task: what the target means, how it is scored, decoded and measured."""
