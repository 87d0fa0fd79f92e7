"""Makes what the playground needs that no checkout contains: Python packages, TensorFlow's libraries, Go programs.

Runs before the virtual environment exists, therefore with the standard library only. Everything lands in the
cache (playground.paths.cache_root), keyed by the hash of what it was made from, and is made once: a file lock keeps
two at once apart, and a part counts only when it is complete, so that a kill in the middle costs a repetition.
"""
