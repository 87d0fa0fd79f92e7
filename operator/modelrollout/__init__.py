"""ModelRollout: a Kubernetes operator that rolls out TensorFlow Serving model versions step by step."""

__version__ = "0.1.0"
