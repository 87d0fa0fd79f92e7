"""The command line of tensorflow_model_server, as far as the playground needs it. Read once by `__main__`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Flags:
    """Every flag that changes something here, with the real server's defaults."""

    port: int = 8500
    rest_api_port: int = 0
    rest_api_timeout_in_ms: int = 30000
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: int = 0
    file_system_poll_wait_seconds: int = 1
    allow_version_labels_for_unavailable_models: bool = False
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    monitoring_config_file: str = ""
    enable_grpc_healthcheck_service: bool = False
    enable_serialization_as_tensor_content: bool = False
    saved_model_tags: str = "serve"
    version: bool = False


# Known to the real server and without effect here (batching, GPU memory, TLS and the like).
_ACCEPTED = frozenset(
    {
        "grpc_socket_path",
        "rest_api_num_threads",
        "rest_api_enable_cors_support",
        "flush_filesystem_caches",
        "enable_batching",
        "batching_parameters_file",
        "enable_per_model_batching_parameters",
        "ssl_config_file",
        "use_alts_credentials",
        "per_process_gpu_memory_fraction",
        "tensorflow_session_config_file",
        "tensorflow_session_parallelism",
        "tensorflow_intra_op_parallelism",
        "tensorflow_inter_op_parallelism",
        "enable_model_warmup",
        "num_request_iterations_for_warmup",
        "grpc_channel_arguments",
        "grpc_max_threads",
        "platform_config_file",
        "enable_signature_method_name_check",
        "prefer_tflite_model",
        "num_tflite_pools",
        "num_tflite_interpreters_per_pool",
        "xla_cpu_compilation_enabled",
        "xla_gpu_compilation_enabled",
        "enable_profiler",
        "remove_unused_fields_from_bundle_metagraph",
        "mixed_precision",
        "thread_pool_factory_config_file",
        "skip_initialize_tpu",
    }
)


class FlagError(ValueError):
    """A known flag with a value that is not of its type."""


def parse(arguments: list[str]) -> tuple[Flags, list[str]]:
    """The flags, and the arguments that the real server would print as unknown and go on without.

    Only `--flag=value` and bare booleans count, as in the real server. FlagError for a value of another type.
    """
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Flags)}
    values: dict[str, int | str | bool] = {}
    unknown = []
    for argument in arguments:
        name, separator, text = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and name in kinds and (separator or kinds[name] is bool):
            values[name] = _value(kinds[name], name, text if separator else "true")
        elif not argument.startswith("--") or name not in _ACCEPTED:
            unknown.append(argument)
    return dataclasses.replace(Flags(), **values), unknown  # type: ignore[arg-type]  # checked by _value


def _value(kind: type, name: str, text: str) -> int | str | bool:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise FlagError(f"Couldn't interpret value {text} for flag {name}.")
        return text.lower() in ("true", "1")
    if kind is int:
        try:
            return int(text)
        except ValueError as error:
            raise FlagError(f"Couldn't interpret value {text} for flag {name}.") from error
    return text


@dataclass(frozen=True)
class Timing:
    """Periods in seconds. The real server's, unless PLAYGROUND_TICK_MS, PLAYGROUND_POLL_MS (disk),
    PLAYGROUND_RETRY_MS (load retries) or PLAYGROUND_CONFIG_POLL_MS tell otherwise, for quick tests.
    """  # fmt: skip

    tick: float
    disk_poll: float
    retry: float
    config_poll: float

    @classmethod
    def of(cls, flags: Flags) -> Timing:
        """What holds for these flags and this environment."""

        def seconds(name: str, default: float) -> float:
            text = os.environ.get(name)
            return float(text) / 1000 if text else default

        return cls(
            tick=seconds("PLAYGROUND_TICK_MS", 0.1),
            disk_poll=seconds("PLAYGROUND_POLL_MS", flags.file_system_poll_wait_seconds),
            retry=seconds("PLAYGROUND_RETRY_MS", flags.load_retry_interval_micros / 1e6),
            config_poll=seconds("PLAYGROUND_CONFIG_POLL_MS", flags.model_config_file_poll_wait_seconds),
        )
