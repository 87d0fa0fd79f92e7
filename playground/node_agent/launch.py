"""Becomes a container's process: own mount namespace, own root with the volumes in it, then the program
itself.

Started by :mod:`playground.node_agent.process` as ``python -I -S launch.py PLAN``, where PLAN is a JSON
file (see `main`); standard library only and little of it, because every container start waits for it. Needs
the right to mount, which every process has inside the playground's box. The parent's death kills the
container.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_PR_SET_PDEATHSIG = 1
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_KEPT_FLAGS = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8, os.ST_NOATIME: 1024, os.ST_RELATIME: 1 << 21}
_BEHIND = ".playground-box"
"""Where a container keeps sight of the directories that it has its own copy of."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    words = [word.encode() or None for word in (source, str(target), kind)]
    result = _libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None)
    _check(result, f"mount {source} at {target}")


def _bind(source: Path, target: Path) -> None:
    """Shows `source`, with all that is mounted in it, at `target`, which is made."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(str(source), target, flags=_MS_BIND | _MS_REC)


def _seal(target: Path) -> None:
    """Makes the bind at `target` read-only; flags that an unprivileged mount may not lose are kept."""
    shown = os.statvfs(target).f_flag
    kept = sum(flag for seen, flag in _KEPT_FLAGS.items() if shown & seen)
    _mount("", target, flags=_MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)


def shadowed(targets: list[str]) -> set[str]:
    """The directories that a container needs as its own so that each of `targets` can be made in them, but
    for ``/``.

    >>> sorted(shadowed(["/etc/model-config/a", "/models"]))
    ['/etc', '/etc/model-config']
    """
    return {str(parent) for target in targets for parent in Path(target).parents if parent != Path("/")}


def _fill(root: Path, directory: Path, own: set[str], targets: set[str]) -> None:
    """Makes `directory` in the new `root`: links to what the box has there, and room for `own` directories
    and `targets`.
    """
    (root / directory.relative_to("/")).mkdir(exist_ok=True)
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if str(path) in own | targets:
            continue
        behind = path.readlink() if path.is_symlink() else Path("/", _BEHIND, path.relative_to("/"))
        (root / path.relative_to("/")).symlink_to(behind)
    for path in sorted(Path(name) for name in own if Path(name).parent == directory):
        _fill(root, path, own, targets)


def build_root(root: Path, targets: list[str]) -> None:
    """Mounts a file system at `root` that looks like ``/``, where `targets` are free to be made."""
    _mount("tmpfs", root, "tmpfs", options="mode=755")
    own = shadowed(targets)
    for path in Path("/").iterdir():
        new = root / path.name
        if str(path) in own:
            _bind(path, root / _BEHIND / path.name)
        elif str(path) in targets:
            continue
        elif path.is_symlink():
            new.symlink_to(path.readlink())
        else:
            _bind(path, new)
    for name in sorted(own):
        if Path(name).parent == Path("/"):
            _fill(root, Path(name), own, set(targets))


def enter(root: Path, binds: list[tuple[str, str, bool]]) -> None:
    """Makes a mount namespace whose root is `root` (an empty directory), with `binds` (source, target,
    read-only) in it.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    # Nothing that is mounted from here on may be seen outside.
    _mount("none", Path("/"), flags=_MS_REC | _MS_PRIVATE)
    places = [(Path(source), os.path.realpath(target), sealed) for source, target, sealed in binds]
    build_root(root, [target for _, target, _ in places])
    for source, target, _ in places:
        _bind(source, root / target.lstrip("/"))
    for _, target, sealed in places:
        if sealed:
            _seal(root / target.lstrip("/"))
    os.chroot(root)


def main(plan_file: str) -> None:
    """Executes the plan; returns only by an exception.

    The plan: ``parent`` (process id), ``root`` (empty directory), ``binds`` ([source, target, read-only],
    outer ones first), ``argv``, ``env``, ``cwd``, ``complaints`` (a file descriptor that gets the reason
    when the program could not be started, and is closed without a word when it runs).
    """
    plan = json.loads(Path(plan_file).read_text())
    os.set_inheritable(plan["complaints"], False)
    try:
        _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
        if os.getppid() == plan["parent"]:
            enter(Path(plan["root"]), plan["binds"])
            os.chdir(plan["cwd"])
            # Becoming the program is the point.
            os.execvpe(plan["argv"][0], plan["argv"], plan["env"])  # noqa: S606
    except OSError as problem:
        os.write(plan["complaints"], f"{plan['argv'][0]}: {problem}".encode())
    sys.exit(128)


if __name__ == "__main__":
    main(sys.argv[1])
