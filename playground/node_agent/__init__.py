"""The playground's node agent: what of the kubelet a model server's pod can notice, for several nodes in
one process.

Started as ``python -m playground.node_agent`` inside the playground's box; see
:mod:`playground.node_agent.__main__`.
"""
