"""Make kuberay.json, strict schemas of KubeRay's kinds, from its custom resource definitions.

The API server drops unknown fields without a word. The strict schema refuses them: no object has
additional properties, and a field with a default is not required. Equal parts are stored once.
Run `python tests/deploy/strict.py VERSION rayclusters.json rayjobs.json`; each file holds `kind`
and `openAPIV3Schema` of one definition.
"""

import collections
import json
import sys
from pathlib import Path
from typing import Any

KEPT = ("type", "enum", "minimum", "maximum", "pattern", "minLength", "maxItems", "minItems")
SHARED = 400
"""Length of JSON text above which a repeated part is stored once."""


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema as plain JSON Schema that allows no unknown field."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {key: schema[key] for key in KEPT if key in schema}
    fields = schema.get("properties", {})
    if fields:
        result["properties"] = {name: strict(field) for name, field in fields.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
        needed = [n for n in schema.get("required", ()) if "default" not in fields.get(n, {})]
        if needed:
            result["required"] = sorted(needed)
    elif isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        result["items"] = strict(schema["items"])
    return result


def shared(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas with each large repeated part moved to `$defs`."""
    seen: collections.Counter[str] = collections.Counter()

    def count(part: Any) -> None:
        if isinstance(part, dict):
            seen[json.dumps(part, sort_keys=True)] += 1
            for value in part.values():
                count(value)

    count(schemas)
    names = {t: f"d{n}" for n, t in enumerate(sorted(seen)) if seen[t] > 1 and len(t) > SHARED}
    used: dict[str, Any] = {}

    def refer(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        name = names.get(json.dumps(part, sort_keys=True))
        if name is None or "type" not in part:
            return {key: refer(value) for key, value in part.items()}
        if name not in used:
            used[name] = None
            used[name] = {key: refer(value) for key, value in part.items()}
        return {"$ref": f"#/$defs/{name}"}

    return {**{kind: refer(schema) for kind, schema in schemas.items()}, "$defs": used}


def main(version: str, *files: str) -> None:
    """Write kuberay.json beside this file."""
    found = [json.loads(Path(file).read_text("utf-8")) for file in files]
    schemas = {}
    for each in found:
        each["openAPIV3Schema"]["properties"].pop("status", None)
        schemas[each["kind"]] = strict(each["openAPIV3Schema"])
    about = f"Custom resource definitions of KubeRay {version} (Apache-2.0), made by strict.py."
    result = shared(schemas)
    # One part a line, so that a difference can be read.
    parts = ",\n".join(f'"{name}": {json.dumps(result["$defs"][name])}' for name in result["$defs"])
    kinds = "".join(f'"{kind}": {json.dumps(result[kind])},\n' for kind in schemas)
    text = f'{{\n"about": "{about}",\n{kinds}"$defs": {{\n{parts}\n}}\n}}\n'
    Path(__file__).with_name("kuberay.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
