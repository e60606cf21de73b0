"""The seam where a denoising run can be watched and changed. Knows tensors and schedulers; no prompt, model or web."""
