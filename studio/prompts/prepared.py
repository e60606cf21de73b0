"""From words as a person writes them to the request that is painted: wildcards decided, weights noticed."""

from __future__ import annotations

import dataclasses

from studio.errors import InvalidRequest
from studio.prompts import emphasis, wildcards
from studio.prompts.wildcards import Lists
from studio.requests import TextToImage


def prepared(request: TextToImage, lists: Lists | None = None, weighs: bool = True) -> TextToImage:
    """The request with its wildcards decided by its seed, and `weighted` set where its brackets mean something.

    A request that has been through this already is returned as it is. `weighs` says whether the model's encoder can
    weigh words; for one that cannot, brackets stay plain text. Raises InvalidRequest (field "prompt").
    """
    if request.template or request.weighted:
        return request
    words = wildcards.resolve(request.prompt, request.seed, lists).text
    template = request.prompt if words != request.prompt else ""
    weighted = weighs and (emphasis.is_weighted(words) or emphasis.is_weighted(request.negative_prompt))
    return dataclasses.replace(request, prompt=words, template=template, weighted=weighted)


def as_written(request: TextToImage) -> TextToImage:
    """The request with words that a person would write to get it: what belongs into a form.

    Painting it at the same seed, with the same lists, gives the same picture. Brackets of requests from before there
    were weights stand for themselves, so they come back with a backslash.
    """
    prompt, negative = request.prompt, request.negative_prompt
    if request.template:
        prompt = request.template
    else:
        if not request.weighted and emphasis.is_weighted(prompt):
            prompt = emphasis.escaped(prompt)
        prompt = _without_wildcards(prompt)
    if not request.weighted and emphasis.is_weighted(negative):
        negative = emphasis.escaped(negative)
    return dataclasses.replace(request, prompt=prompt, negative_prompt=negative, weighted=False, template="")


def _without_wildcards(words: str) -> str:
    """Words that were decided already, so that nothing in them is a wildcard."""
    try:
        if wildcards.resolve(words, 0).text == words:
            return words
    except InvalidRequest:
        pass  # it names a list, or nests too deep, as text
    kept = wildcards.escaped(words)
    return kept if wildcards.resolve(kept, 0).text == words else words
