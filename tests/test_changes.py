"""Whoever is told that something is redone reads what changed, not hashes."""

from qwenkit.changes import explain_changes


def test_a_changed_setting_is_named_in_full_where_others_are_called_the_same() -> None:
    old = {"peft.enabled": True, "quantization.enabled": True, "peft.lora_r": 8}
    new = {**old, "quantization.enabled": False, "peft.lora_r": 16}
    reasons = explain_changes(old, new)
    assert reasons == ["lora_r: 8 -> 16", "quantization.enabled: true -> false"]
