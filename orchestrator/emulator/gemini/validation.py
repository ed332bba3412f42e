"""Is this create request one that Gemini would take? No state, no I/O in this file.

What depends on the interaction it continues is checked in `interactions`.
Source: Gemini API, Interactions, "Create"; what the live service adds to it is said at each rule.
"""

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.emulator.gemini import declarations
from orchestrator.emulator.gemini.agents import check_agent
from orchestrator.emulator.gemini.errors import ApiError, invalid, unknown_parameter
from orchestrator.emulator.gemini.films import check_film
from orchestrator.emulator.gemini.settings import EmulatorSettings

Json = dict[str, Any]

TYPES: Final[dict[str, tuple[type, ...]]] = {
    "model": (str,),
    "agent": (str,),
    "background": (bool,),
    "store": (bool,),
    "stream": (bool,),
    "input": (str, dict, list),
    "previous_interaction_id": (str,),
    "system_instruction": (str,),
    "tools": (list,),
    "generation_config": (dict,),
    "agent_config": (dict,),
    "environment": (str, dict),
    "response_format": (dict, list),
    "response_modalities": (list,),
    "webhook_config": (dict,),
    "service_tier": (str,),
    "labels": (dict,),
    "safety_settings": (list,),
    "cached_content": (str,),
    "continuation_token": (str,),
    "response_mime_type": (str,),
}
REFUSED: Final = {
    "safety_settings": "safety_settings is not supported by this API.",
    "response_mime_type": "response_mime_type is no longer supported; use response_format.",
    "cached_content": "cached_content is not supported here.",
    "continuation_token": "continuation_token is not valid.",
}
GENERATION: Final[dict[str, tuple[type, ...]]] = {
    "max_output_tokens": (int, str),
    "seed": (int, str),
    "stop_sequences": (list,),
    "temperature": (int, float),
    "top_p": (int, float),
    "thinking_level": (str,),
    "thinking_summaries": (str,),
    "tool_choice": (str, dict),
    "image_config": (dict,),
    "speech_config": (dict, list),
    "transcription_config": (dict,),
    "video_config": (dict,),
}
TIERS: Final = ("flex", "standard", "priority")  # `deferred` exists in the schema and is refused live
THINKING: Final = ("minimal", "low", "medium", "high", "xhigh")
CONTENT: Final = ("text", "image", "audio", "video", "document")
STEPS: Final = ("user_input", "model_output", "thought", "function_call", "function_result")
RESULT_FIELDS: Final = ("type", "call_id", "result", "name", "is_error", "signature")
LABEL_LENGTH: Final = 63


@dataclass(frozen=True)
class CreateRequest:
    """A create request that is right in itself.

    Args:
        body: The request as it came.
        steps: Its input as steps, a bare text or content wrapped in `user_input`.
        functions: The function tools it declares, that `tool_choice` allows.
        results: Its `function_result` steps.
    """

    body: Json
    steps: tuple[Json, ...]
    functions: tuple[Json, ...]
    results: tuple[Json, ...]
    background: bool
    store: bool
    previous: str | None
    uris: tuple[str, ...]
    metadata: Json = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the user said in this request."""
        blocks = (b for s in self.steps if s["type"] == "user_input" for b in s.get("content", ()))
        return "\n".join(block["text"] for block in blocks if block["type"] == "text")


def check_create(body: Any, settings: EmulatorSettings) -> CreateRequest:
    """Read a create request.

    Raises:
        ApiError: 400 for what is wrong with it, 404 for a model nobody knows, 501 for streaming.
    """
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    check_fields(body, TYPES)
    _check_refused(body, settings)
    _check_who(body, settings)
    _check_storing(body)
    _check_generation(body)
    uris, metadata = _webhook_config(body, settings.plain_http_hosts)
    functions = declarations.check_tools(body, refuse_mixed=settings.refuse_mixed_tools)
    steps = _input_steps(body)
    results = tuple(step for step in steps if step["type"] == "function_result")
    check_agent(body, functions)
    check_film(body, settings)
    return CreateRequest(
        body=body,
        steps=steps,
        functions=functions,
        results=results,
        background=body.get("background", False),
        store=body.get("store", True),
        previous=body.get("previous_interaction_id"),
        uris=uris,
        metadata=metadata,
    )


def check_fields(body: Mapping[str, Any], types: Mapping[str, tuple[type, ...]], where: str = "") -> None:
    """Every field is one of `types`, and of that JSON type.

    Raises:
        ApiError: 400 `parameter_unknown` or `invalid_request`.
    """
    for name, value in body.items():
        if name not in types:
            raise unknown_parameter(name, where)
        kinds = types[name]
        # Python counts a boolean as an int, JSON does not.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise invalid(f"Invalid value for '{where + '.' if where else ''}{name}'.")


def check_uri(uri: Any, plain_http_hosts: Collection[str], where: str) -> str:
    """An address a webhook may go to: https, or http to loopback and the hosts named.

    Raises:
        ApiError: 400.
    """
    if not isinstance(uri, str) or not uri:
        raise invalid(f"{where}: a webhook URI must be a non-empty string.")
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise invalid(f"{where}: '{uri}' is not an http(s) URI.")
    if parts.scheme == "http" and not (_is_loopback(parts.hostname) or parts.hostname in plain_http_hosts):
        raise invalid(f"{where}: '{uri}' must use https.")
    return uri


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_refused(body: Json, settings: EmulatorSettings) -> None:
    for name, message in REFUSED.items():
        if name in body:
            raise invalid(message)
    if "labels" in body:
        _check_labels(body["labels"], allowed=settings.accept_labels)
    if body.get("stream"):
        raise ApiError(501, "Streaming is not implemented here.")
    if body.get("service_tier", "standard") not in TIERS:
        raise invalid(f"service_tier '{body['service_tier']}' is not supported.")


def _check_labels(labels: Json, *, allowed: bool) -> None:
    if not allowed:  # seen live on the Developer API, although its reference lists the field
        raise invalid("labels is not supported by this API.")
    for key, value in labels.items():
        if not isinstance(value, str) or max(len(key), len(value)) > LABEL_LENGTH or key != key.lower():
            raise invalid(f"labels: '{key}' is not a valid label.")


def _check_who(body: Json, settings: EmulatorSettings) -> None:
    if ("model" in body) == ("agent" in body):
        raise invalid("Exactly one of 'model' and 'agent' must be set.")
    name = body.get("model", body.get("agent"))
    if not name:
        raise invalid("'model' or 'agent' must not be empty.")
    if "model" in body and str(name).removeprefix("models/").startswith("veo-"):
        raise invalid(f"Model '{name}' is not supported by interactions.")
    if settings.known_models and name not in settings.known_models:
        raise ApiError(404, f"'{name}' was not found.", code="model_not_found")


def _check_storing(body: Json) -> None:
    stored = body.get("store", True)
    if body.get("background") and not stored:
        raise invalid("background=true requires store=true.")
    if "previous_interaction_id" in body and not stored:
        raise invalid("previous_interaction_id requires store=true.")
    if body.get("previous_interaction_id") == "":
        raise invalid("previous_interaction_id must not be empty.")


def _check_generation(body: Json) -> None:
    config = body.get("generation_config", {})
    if config and "agent" in body:
        raise invalid("generation_config is not supported for agents.")
    check_fields(config, GENERATION, "generation_config")
    for name in ("max_output_tokens", "seed"):
        # 64-bit integers travel as strings, in the JSON form of protocol buffers.
        if isinstance(config.get(name), str) and not config[name].isdecimal():
            raise invalid(f"generation_config.{name} must be an integer.")
    if int(config.get("max_output_tokens", 1)) < 1:
        raise invalid("generation_config.max_output_tokens must be positive.")
    if config.get("thinking_level", "low") not in THINKING:
        raise invalid(f"generation_config.thinking_level '{config['thinking_level']}' is not supported.")


def _webhook_config(body: Json, plain_http_hosts: Collection[str]) -> tuple[tuple[str, ...], Json]:
    config = body.get("webhook_config")
    if config is None:
        return (), {}
    if not body.get("background"):
        raise invalid("webhook_config requires background=true.")
    check_fields(config, {"uris": (list,), "user_metadata": (dict,)}, "webhook_config")
    uris = tuple(check_uri(uri, plain_http_hosts, "webhook_config.uris") for uri in config.get("uris", ()))
    return uris, config.get("user_metadata", {})


def _input_steps(body: Json) -> tuple[Json, ...]:
    value = body.get("input")
    if not value:
        raise invalid("'input' must be set.")
    if isinstance(value, str):
        return (_said([{"type": "text", "text": value}]),)
    items = value if isinstance(value, list) else [value]
    kinds = [item.get("type") if isinstance(item, dict) else None for item in items]
    if all(kind in CONTENT for kind in kinds):
        return (_said([_content(item) for item in items]),)
    if not isinstance(value, list):
        raise invalid("'input' as an object must be one content; function results come in a list.")
    for kind in kinds:
        if kind not in STEPS:
            raise invalid(f"'input' must hold contents or steps, not both; got type '{kind}'.")
    return tuple(_step(item) for item in items)


def _said(content: list[Json]) -> Json:
    return {"type": "user_input", "content": content}


def _step(step: Json) -> Json:
    if step["type"] == "function_result":
        return _result(step)
    if step["type"] == "user_input":
        content = step.get("content", [])
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(content, list) or not content:
            raise invalid("A user_input step needs content.")
        return {**step, "content": [_content(block) for block in content]}
    return step


def _content(block: Any) -> Json:
    if not isinstance(block, dict) or block.get("type") not in CONTENT:
        raise invalid("Content blocks must be objects with a known 'type'.")
    if block["type"] == "text" and not isinstance(block.get("text"), str):
        raise invalid("A text content needs a string 'text'.")
    return block


def _result(step: Json) -> Json:
    for name in step:
        if name not in RESULT_FIELDS:
            raise unknown_parameter(name, "function_result")
    if not isinstance(step.get("call_id"), str) or not step["call_id"]:
        raise invalid("function_result.call_id must be a non-empty string.")
    if not isinstance(step.get("is_error", False), bool) or not isinstance(step.get("name", ""), str):
        raise invalid("function_result.is_error must be a boolean, name a string.")
    result = step.get("result")
    if isinstance(result, list):
        for block in result:
            _content(block)
    elif not isinstance(result, str | dict):
        raise invalid("function_result.result must be a string, an object or a list of content blocks.")
    return step
