"""What kubectl and the API server say when they refuse, turned into what to do. Called by `cluster`."""

import re

from modelrollout.cli.errors import Failure, NotFound

_SERVER = re.compile(r"Error from server(?: \((?P<reason>\w+)\))?: (?P<message>.*)", re.DOTALL)


def explain(said: str, namespace: str | None) -> Failure:
    """The failure that a refusal means. `namespace` is what people asked for, None for their context's own."""
    match = _SERVER.search(said)
    reason, message = (match["reason"] or "", match["message"]) if match else ("", said.removeprefix("error: "))
    if reason == "NotFound" and "requested resource" not in message:
        where = f"-n {namespace}" if namespace else "the namespace of your context"
        return NotFound(message, f"Looked in {where}. `kubectl modelrollout get -A` shows where there are any.")
    if reason == "Forbidden":
        return Failure(
            message, "You lack this right: ask for a Role with that verb on that resource, and a RoleBinding."
        )
    if reason == "Unauthorized" or "must be logged in" in message:
        return Failure(
            message or "you are not logged in", "Log in again: the credentials of this context are not valid."
        )
    if "doesn't have a resource type" in message or "could not find the requested resource" in message:
        return Failure(message, "Is it installed here? kubectl apply --server-side -f crds/modelrollouts.yaml")
    if re.search(r"context .*does not exist|no context exists|context was not found", message):
        return Failure(message, "`kubectl config get-contexts` lists those that there are.")
    if re.search(r"refused|no such host|timeout|i/o|unreachable|EOF", message):
        return Failure(message, "The API server does not answer. Is it the right --context, and are you connected?")
    return Failure(message or "kubectl ended without a word")
