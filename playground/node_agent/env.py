"""A container's environment and arguments, by the kubelet's rules: ``$(NAME)`` references and values from
elsewhere.

Pure: ConfigMaps and Secrets come in through a lookup. Called by :mod:`playground.node_agent.sandbox` before
a container starts; the field paths of the downward API serve volumes too.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from playground.node_agent.model import JsonObject


_REFERENCE = re.compile(r"\$(\$|\(([^)$]+)\))")
_MAP_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_KINDS = {"configMap": "configmaps", "secret": "secrets"}


class ConfigError(Exception):
    """The container cannot be started as it is declared; its text is the message of
    CreateContainerConfigError.
    """


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with ``$(NAME)`` replaced where NAME is known; ``$$`` stands for a ``$`` that begins no
    reference.

    An unknown name stays as it is written.
    """

    def replacement(match: re.Match[str]) -> str:
        name = match.group(2)
        return "$" if name is None else values.get(name, match.group(0))

    return _REFERENCE.sub(replacement, text)


def field_value(pod: JsonObject, path: str) -> str:
    """The downward API's value of `path`, for example ``metadata.labels['app']``; absent ones are empty.

    Raises:
        ConfigError: the kubelet has no such field.
    """
    if match := _MAP_FIELD.fullmatch(path):
        return str(pod["metadata"].get(match.group(1), {}).get(match.group(2), ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = pod["metadata"].get(path.removeprefix("metadata."), {})
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    status, metadata, spec = pod.get("status", {}), pod["metadata"], pod["spec"]
    fields = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": status.get("hostIP", ""),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
    }
    if path not in fields:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(fields[path])


def environment(
    container: JsonObject, pod: JsonObject, lookup: Callable[[str, str], JsonObject | None]
) -> dict[str, str]:
    """The variables that `container` declares; later entries see the earlier ones.

    Raises:
        ConfigError: a ConfigMap, Secret, key or field that is not optional does not exist.
    """
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        values |= _all_of(source, lookup)
    for entry in container.get("env", []):
        if "valueFrom" not in entry:
            values[entry["name"]] = expand(entry.get("value", ""), values)
        elif (value := _value_from(entry["valueFrom"], pod, lookup)) is not None:
            values[entry["name"]] = value
    return values


def references(container: JsonObject) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that :func:`environment` will look up, as (kind, name)."""
    sources = [(f"{word}Ref", kind, source) for source in container.get("envFrom", []) for word, kind in _KINDS.items()]
    sources += [
        (f"{word}KeyRef", kind, entry.get("valueFrom", {}))
        for entry in container.get("env", [])
        for word, kind in _KINDS.items()
    ]
    return {(kind, source[word]["name"]) for word, kind, source in sources if word in source}


def arguments(words: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """A container's ``command`` or ``args`` with its references to variables resolved."""
    return [expand(word, values) for word in words]


def contents(kind: str, found: JsonObject) -> dict[str, bytes]:
    """Every key of a ConfigMap or Secret with its bytes."""
    encoded = dict(found.get("binaryData") or {})
    plain = found.get("data") or {}
    if kind == "secrets":
        encoded, plain = plain, {}
    files = {key: value.encode() for key, value in plain.items()}
    return files | {key: base64.b64decode(value) for key, value in encoded.items()}


def _all_of(source: JsonObject, lookup: Callable[[str, str], JsonObject | None]) -> dict[str, str]:
    for word, kind in _KINDS.items():
        if reference := source.get(f"{word}Ref"):
            found = _find(kind, reference, lookup) or {}
            prefix = source.get("prefix", "")
            return {prefix + key: value.decode(errors="replace") for key, value in contents(kind, found).items()}
    return {}


def _value_from(source: JsonObject, pod: JsonObject, lookup: Callable[[str, str], JsonObject | None]) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    for word, kind in _KINDS.items():
        if reference := source.get(f"{word}KeyRef"):
            found = _find(kind, reference, lookup)
            values = contents(kind, found) if found else {}
            if reference["key"] in values:
                return values[reference["key"]].decode(errors="replace")
            if reference.get("optional"):
                return None
            where = f"{pod['metadata']['namespace']}/{reference['name']}"
            raise ConfigError(f"couldn't find key {reference['key']} in {word[0].upper()}{word[1:]} {where}")
    raise ConfigError(f"valueFrom is not supported by the playground: {', '.join(source)}")


def _find(kind: str, reference: JsonObject, lookup: Callable[[str, str], JsonObject | None]) -> JsonObject | None:
    found = lookup(kind, reference["name"])
    if found is None and not reference.get("optional"):
        raise ConfigError(f'{kind.removesuffix("s")} "{reference["name"]}" not found')
    return found
