"""Steps of the stub functions, in a folder of their own, and the executors."""

import pytest

from tfcompress.executor import Step


@pytest.fixture
def make_step(tmp_path):
    """Function: name, stub function, arguments -> `Step` that writes file `name`."""

    def make(name, function="write", inputs=(), **arguments):
        options = {
            key: arguments.pop(key)
            for key in ("num_cores", "memory_bytes", "is_exclusive")
            if key in arguments
        }
        path = str(tmp_path / name)
        return Step(
            name=name,
            function=f"tests.executor.stub_steps:{function}",
            arguments={"path": path} | arguments,
            inputs=tuple(str(tmp_path / each) for each in inputs),
            outputs=(path,),
            **options,
        )

    return make
