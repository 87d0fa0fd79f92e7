"""How quick, how safe and how light the operator is, measured on the playground from outside the operator.

Each of `abort`, `promote`, `undo` and `footprint` is one command; they keep every single run as JSON in `results/` and
write their table into docs/benchmarks.md.
"""
