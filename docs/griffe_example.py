"""Extension of mkdocstrings: a section "Example:" of a docstring holds doctest lines."""

from typing import Any

import griffe


class ExampleSection(griffe.Extension):
    """Rename the section to "Examples:", which Griffe parses as code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section in the docstring of a class, function or module."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n")
