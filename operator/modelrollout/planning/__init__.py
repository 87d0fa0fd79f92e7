"""Before and after a rollout: what steps can find out, what would happen, what did. No I/O; `cli.commands` calls it."""
