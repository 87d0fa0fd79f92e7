"""The sequential judge: does the canary do worse than the stable pods that serve at the same time?

Pure arithmetic over counts (docs/judge-statistics.md). `process` is one comparison, `metrics` what is made of it for a
metric, `rounds` how counters of pods become counts of both sides.
"""
