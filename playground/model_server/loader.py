"""Loads versions on worker threads, with the faults that were asked for. The manager's Loader; made by `__main__`."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from playground.model_server.errors import Code, ServingError
from playground.model_server.log import log
from playground.model_server.tf_session import SavedModel

if TYPE_CHECKING:
    from pathlib import Path

    from playground.model_server.faults import Faults
    from playground.model_server.metrics import Metrics


class SavedModelLoader:
    """Loads SavedModels by TensorFlow's loader; its errors are TensorFlow's own."""

    def __init__(self, faults: Faults, metrics: Metrics, tags: list[str]) -> None:
        self._faults = faults
        self._metrics = metrics
        self._tags = tags
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="load")

    async def load(self, name: str, version: int, path: Path, loaded: list[int]) -> SavedModel:
        """Load a version beside those that are `loaded`; ServingError if it cannot be."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        try:
            await self._misbehave(name, version, loaded)
            model = await loop.run_in_executor(self._threads, SavedModel.load, path, self._tags)
        except ServingError as error:
            self._metrics.loaded(str(path), "fail", time.perf_counter() - started)
            log("E", "util/retrier.cc", f"Loading servable: {{name: {name} version: {version}}} failed: {error}")
            raise
        self._metrics.loaded(str(path), "success", time.perf_counter() - started)
        log("I", "core/loader_harness.cc", f"Successfully loaded servable version {{name: {name} version: {version}}}")
        return model

    async def _misbehave(self, name: str, version: int, loaded: list[int]) -> None:
        faults = self._faults.of(name, version)
        if not self._faults.fits(name, version, loaded):
            raise ServingError(
                Code.RESOURCE_EXHAUSTED, f"Insufficient resources to load servable {{name: {name} version: {version}}}"
            )
        if faults.load_seconds:
            await asyncio.sleep(faults.load_seconds)
        if faults.refuse_load:
            raise ServingError(Code.UNKNOWN, faults.refuse_load)

    async def unload(self, model: SavedModel) -> None:
        """Free a version."""
        await asyncio.get_running_loop().run_in_executor(self._threads, model.close)
