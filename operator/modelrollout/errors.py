"""What adapters raise. Domain outcomes are values (`Decision`, `Measurement`), never exceptions."""


class OperatorError(Exception):
    """Base of all of them."""


class ClusterUnavailable(OperatorError):
    """The API server did not answer, or answered 429 or 5xx: the pass is tried again."""


class Conflict(OperatorError):
    """The object changed since it was read (409): the next pass sees the newer one."""


class Refused(OperatorError):
    """The API server refused a write for good (400, 403, 422): its own message names the field or the right."""


class MetricsUnavailable(OperatorError):
    """Prometheus did not answer in time, or answered 5xx, or what answered is no Prometheus."""


class QueryRefused(OperatorError):
    """Prometheus refused the query itself (400, 422), or gave only a partial answer (warnings)."""


class ServerUnavailable(OperatorError):
    """A model server did not answer in time, or nothing listens at its address."""


class ReloadRefused(OperatorError):
    """A model server answered a reload call with an error; the message is its own."""


class UnusableFile(OperatorError):
    """A file that a flag names is missing or is not what it should be; the message has flag and path, no content."""
