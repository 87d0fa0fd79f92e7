"""A real cluster's parts on one Linux machine, without Docker, root or a GPU.

For people (`make demo`, `make shell`) and for the integration tests; the operator never imports it.
docs/design.md tells what is real here and what is imitated.
"""
