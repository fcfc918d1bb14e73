"""Keras's loop over time by operators that LiteRT has.

Keras keeps the steps of a loop in a TensorArray. TFLite's converter turns those into
plain tensors only where the batch is fixed, so here a loop reads its steps by Gather
and keeps its outputs in one tensor, of which each step replaces its own part.
"""


def rnn(
    step_function,
    inputs,
    initial_states,
    go_backwards=False,
    mask=None,
    constants=None,
    unroll=False,
    input_length=None,
    time_major=False,
    zero_output_for_mask=False,
    return_all_outputs=True,
):
    """Does what `keras.src.backend.rnn` does; its arguments and results are these.

    It is told a fixed length by `input_length`, which the shape of the inputs says too.
    """
    import tensorflow as tf
    from keras.src.backend.tensorflow.rnn import rnn as original

    if unroll or time_major or isinstance(input_length, tf.Tensor):
        return original(
            step_function,
            inputs,
            initial_states,
            go_backwards,
            mask,
            constants,
            unroll,
            input_length,
            time_major,
            zero_output_for_mask,
            return_all_outputs,
        )
    loop = _Loop(step_function, inputs, constants or [], go_backwards, mask)
    loop.zeroes_masked = zero_output_for_mask
    loop.keeps_all = return_all_outputs
    return loop.run(tuple(initial_states))


class _Loop:
    """One loop over the second axis of the inputs.

    Attributes:
        zeroes_masked: whether a masked step puts out zeros, and not the output before.
        keeps_all: whether the outputs of all steps are wanted.
    """

    def __init__(self, step_function, inputs, constants, go_backwards, mask):
        import tensorflow as tf

        self._step_function = step_function
        self._inputs = inputs
        self._constants = tuple(constants)
        self._go_backwards = go_backwards
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            mask = mask[..., 0] if len(mask.shape) == 3 else mask
        self._mask = mask
        first = tf.nest.flatten(inputs)[0]
        self._batch = tf.shape(first)[0]
        self._length = first.shape[1] or tf.shape(first)[1]

    def run(self, states):
        """Returns the last output, all outputs, and the last states."""
        import tensorflow as tf

        shape, dtype = self._find_output(states)
        last = tf.zeros([self._batch, *shape], dtype)
        kept = ()
        if self.keeps_all:
            kept = (tf.zeros([self._batch, self._length, *shape], dtype),)
        flat = tf.nest.flatten(states)

        def body(time, last, kept, flat):
            before = tf.nest.pack_sequence_as(states, flat)
            output, after = self._step(time, last, before)
            if kept:
                kept = (self._replace(kept[0], time, output),)
            return time + 1, output, kept, tf.nest.flatten(after)

        _, last, kept, flat = tf.while_loop(
            lambda time, *_: time < self._length,
            body,
            (tf.constant(0), last, kept, flat),
            maximum_iterations=self._length,
        )
        last = tf.ensure_shape(last, [None, *shape])
        outputs = kept[0] if kept else tf.expand_dims(last, 1)
        return last, outputs, tf.nest.pack_sequence_as(states, flat)

    def _step(self, time, last, states):
        """Computes one step; where it is masked, what was before stays."""
        import tensorflow as tf

        index = self._length - 1 - time if self._go_backwards else time
        inputs = tf.nest.map_structure(
            lambda tensor: tf.gather(tensor, index, axis=1), self._inputs
        )
        output, after = self._step_function(inputs, (*states, *self._constants))
        if self._mask is None:
            return output, after
        mask = tf.gather(self._mask, index, axis=1)
        otherwise = tf.zeros_like(output) if self.zeroes_masked else last
        flat = [
            _where(mask, new, old)
            for new, old in zip(
                tf.nest.flatten(after), tf.nest.flatten(states), strict=True
            )
        ]
        after = tf.nest.pack_sequence_as(states, flat)
        return _where(mask, output, otherwise), after

    def _replace(self, kept, time, output):
        """Puts the output of a step into its place among all of them."""
        import tensorflow as tf

        is_this = tf.equal(tf.range(self._length), time)
        for _ in output.shape[1:]:
            is_this = tf.expand_dims(is_this, -1)
        return tf.where(is_this, tf.expand_dims(output, 1), kept)

    def _find_output(self, states):
        """Finds the shape behind the batch and the dtype of a step's output.

        It is traced aside: a step in the graph beside the loop would put its weights
        into the file a second time.
        """
        import tensorflow as tf

        inputs = tf.nest.map_structure(
            lambda tensor: tf.TensorSpec(
                [tensor.shape[0], *tensor.shape[2:]], tensor.dtype
            ),
            self._inputs,
        )
        specs = [tf.TensorSpec(s.shape, s.dtype) for s in tf.nest.flatten(states)]

        def step(inputs, flat):
            before = tf.nest.pack_sequence_as(states, flat)
            return self._step_function(inputs, (*before, *self._constants))[0]

        traced = tf.function(step, autograph=False).get_concrete_function(inputs, specs)
        output = traced.structured_outputs
        return output.shape[1:], output.dtype


def _where(mask, new, old):
    """Chooses by a mask of the batch."""
    import tensorflow as tf

    for _ in new.shape[1:]:
        mask = tf.expand_dims(mask, -1)
    return tf.where(mask, new, old)
