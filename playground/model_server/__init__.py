"""A stand-in for `tensorflow_model_server` 2.20, which exists only inside container images.

Started by the node agent for containers of the image tensorflow/serving, and by tests, as
`python -m playground.model_server --flag=value ...`. Loads real SavedModels with TensorFlow's own C++ loader and
speaks the same gRPC and REST interfaces; `faults` tells how to make it misbehave.

From the outside in: `__main__` (life of the process), `grpc_api` and `rest_api` (the two protocols), `inference`
(one request), `core` (configuration, labels), `source` (the disk), `manager` (versions), `tf_session` (TensorFlow).
"""
