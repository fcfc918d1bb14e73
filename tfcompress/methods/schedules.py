"""When pruning happens during training: TFMOT's schedules, asked step by step."""


class PruningSchedule:
    """A gradual pruning's steps and sparsities, by TFMOT's own schedules.

    Args:
        config: `PruneConfig` with the schedule `"constant"` or `"polynomial"`.
        num_steps: optimizer steps of the training.
    """

    def __init__(self, config, num_steps):
        self._config = config
        self.begin_step = round(config.begin * num_steps)
        # The masks of the last step are the last ones to train with.
        last_step = max(num_steps - 1, self.begin_step + 1)
        self.end_step = max(round(config.end * num_steps), self.begin_step + 1)
        self.end_step = min(self.end_step, last_step)

    def sparsity_at(self, step, sparsity):
        """Returns the sparsity to prune to in a step.

        Args:
            step: optimizer step, from 0.
            sparsity: fraction of zeros in the end.
        Returns:
            Fraction in [0, `sparsity`], or `None`: the masks stay as they are.
        Source: Zhu and Gupta 2017 (arXiv:1710.01878), section 3, for the polynomial of
            power 3. In the end step, where TFMOT prunes only if `frequency` divides
            it, the sparsity is reached.
        """
        if step == self.end_step:
            return sparsity
        if not self.begin_step <= step < self.end_step:
            return None
        is_due, current = self._schedule(sparsity)(step)
        if not bool(is_due):
            return None
        return sparsity if self._config.schedule == "constant" else float(current)

    def _schedule(self, sparsity):
        import tensorflow_model_optimization as tfmot

        schedules = tfmot.sparsity.keras
        options = {
            "begin_step": self.begin_step,
            "end_step": self.end_step,
            "frequency": self._config.frequency,
        }
        if self._config.schedule == "constant":
            return schedules.ConstantSparsity(sparsity, **options)
        return schedules.PolynomialDecay(0.0, sparsity, **options)


def step_callback(on_step):
    """Makes a tf_keras callback that calls `on_step` before each training step.

    The step comes from the optimizer, whose count a checkpoint holds: where a killed
    training goes on, so does pruning. In a loop without a compiled optimizer the calls
    are counted.

    Args:
        on_step: function of the optimizer step, from 0.
    """
    import tf_keras

    class StepCallback(tf_keras.callbacks.Callback):
        num_calls = 0

        def on_train_batch_begin(self, batch, logs=None):
            optimizer = getattr(self.model, "optimizer", None)
            is_counted = optimizer is not None
            on_step(int(optimizer.iterations) if is_counted else self.num_calls)
            self.num_calls += 1

    return StepCallback()
