"""wavebrush: an interactive image studio for artists."""

__version__ = "0.1.0"
