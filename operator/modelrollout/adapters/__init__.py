"""The outside world behind the ports: Kubernetes, model servers, Prometheus. Built by `__main__` alone."""
