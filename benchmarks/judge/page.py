"""Placeholder."""
def section(name, cells): return [name, *map(str, cells)]
def publish(found): pass
