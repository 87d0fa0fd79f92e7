"""Runs Argo CD's scripts as Argo CD does: Lua 5.1, `obj` and `actionParams` as globals, no string library."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml
from lupa import lua51

from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

CUSTOMIZATION = REPOSITORY / "gitops/argocd/resource_customizations/modelrollout.io/ModelRollout"
PHASES = CUSTOMIZATION / "testdata"
ACTIONS = CUSTOMIZATION / "actions"

# Scripts in argocd-cm have base, table and a safe os.
_WITHOUT_LIBRARIES = "debug.getmetatable('').__index = nil; string, io, package, debug, require = nil"

Object = dict[str, Any]


class ScriptError(Exception):
    """The script called `error`; Argo CD shows the message to whoever clicked."""


def phase(name: str) -> Object:
    """A ModelRollout as it was exported in one phase."""
    return deepcopy(_read(name))


def phases() -> list[str]:
    """Every phase that was exported."""
    return sorted(file.stem for file in PHASES.glob("*.yaml"))


def health(obj: Object) -> Object:
    """Status and message."""
    found: Object = _run(CUSTOMIZATION / "health.lua", obj)
    return found


def discover(obj: Object) -> Object:
    """By name of the action: whether it is disabled, and how it looks."""
    found: Object = _run(ACTIONS / "discovery.lua", obj)
    return found


def act(action: str, obj: Object, **parameters: str) -> Object:
    """The object as the action leaves it. Raises ScriptError."""
    found: Object = _run(ACTIONS / action / "action.lua", obj, parameters)
    return found


@cache
def _read(name: str) -> Object:
    loaded: Object = yaml.safe_load((PHASES / f"{name}.yaml").read_text())
    return loaded


def _run(script: Path, obj: Object, parameters: dict[str, str] | None = None) -> Any:
    lua = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    lua.execute(_WITHOUT_LIBRARIES)
    lua.globals().obj = _to_lua(lua, obj)
    lua.globals().actionParams = _to_lua(lua, parameters or {})
    try:
        return _from_lua(lua.execute(script.read_text()))
    except lua51.LuaError as error:
        raise ScriptError(str(error)) from error


def _to_lua(lua: lua51.LuaRuntime, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _to_lua(lua, item) for key, item in value.items()})
    if isinstance(value, list):
        return lua.table_from([_to_lua(lua, item) for item in value])
    return value


def _from_lua(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return int(value) if isinstance(value, float) and value.is_integer() else value
    keys = list(value.keys())
    if keys and keys == list(range(1, len(keys) + 1)):
        return [_from_lua(item) for item in value.values()]
    return {key: _from_lua(item) for key, item in value.items()}
