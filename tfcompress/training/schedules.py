"""The learning rate of each step, as a pure function."""


def learning_rate_at(step, num_steps, config):
    """Returns the learning rate of a step.

    The warm-up rises in a straight line from one part of the highest rate in the first
    step to the highest; `"linear"` then falls in a straight line that would reach 0 in
    the step after the last, so that no step is lost to a rate of 0.

    Args:
        step: optimizer step, from 0 to `num_steps - 1`.
        num_steps: steps of the whole training.
        config: `TrainingConfig`; `learning_rate`, `warmup_fraction` and `schedule`
            count.
    Returns:
        Learning rate above 0, at most `config.learning_rate`.
    Source: Devlin et al., BERT (arXiv:1810.04805), appendix A.2: warm-up and linear
        decay. The first step has a rate above 0 here, where others start at 0.

    >>> from tfcompress.training import TrainingConfig
    >>> config = TrainingConfig(
    ...     epochs=1, learning_rate=1.0, warmup_fraction=0.5, schedule="linear"
    ... )
    >>> [learning_rate_at(step, 8, config) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    warmup_steps = round(config.warmup_fraction * num_steps)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * (num_steps - step) / (num_steps - warmup_steps)


def is_constant(config):
    """Whether every step has the same learning rate."""
    return config.schedule == "constant" and config.warmup_fraction == 0.0
