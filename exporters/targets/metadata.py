"""What every model file says of itself, in whatever way its format has for that."""

from exporters.signature import Signature

SIGNATURE_KEY = "lipstill.signature"


def metadata(signature: Signature) -> dict[str, str]:
    """The whole signature for programs, and what a person in a model viewer asks first."""
    facts = {
        SIGNATURE_KEY: signature.to_json(),
        "lipstill.student": f"{signature.student}, {signature.precision}",
        "lipstill.rig_controls": ", ".join(signature.driven),
        "lipstill.sample_rate_hz": str(signature.sample_rate_hz),
        "lipstill.window_samples": str(signature.window),
        "lipstill.past_ms": f"{signature.past_ms:g}",
        "lipstill.future_ms": f"{signature.future_ms:g}",
        "lipstill.smoothing": ", ".join(f"{weight:g}" for weight in signature.smoothing),
        "lipstill.latency_ms": f"{signature.latency_ms:g}",
    }
    if signature.quantization:
        facts["lipstill.quantization"] = _in_words(signature.quantization)
    return facts


def _in_words(quantization: dict[str, object]) -> str:
    """Names with one plain value each: ``layers: first float, conv1 int8; made by: method qat``.

    Scales and zero points go deeper, and are for programs.
    """
    topics = []
    for topic, entry in quantization.items():
        if isinstance(entry, dict) and all(
            isinstance(v, (str, int, float)) for v in entry.values()
        ):
            values = ", ".join(f"{name} {value}" for name, value in entry.items())
            topics.append(f"{topic.replace('_', ' ')}: {values}")
    return "; ".join(topics) or f"see {SIGNATURE_KEY}"
