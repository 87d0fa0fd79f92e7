"""How often each rule takes a good version back, how soon a bad one, and what users pay meanwhile.

`traces` makes both sides' answers, `twin` is the operator's rule over many runs at once, `windows` and `tests` are what
others do. `cells` says what is tried, `trial` tries it, `incidents` counts bad answers while weights follow the rule.
`python -m benchmarks.judge` runs all of it and writes docs/judge-benchmark.md.
"""
