"""The language of prompts: weights, wildcards, components, and what other programs wrote into their pictures.

Text only: no model, no tensor, no page.
"""
