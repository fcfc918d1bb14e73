"""Steps as tasks of Ray, on this machine or on a cluster.

Ray places the tasks by their needs and tells when a worker or a node has ended. What is
done, and what is sent again, our files say. Ray itself would wait without end for a
cluster that has gone, or end this process: so it is looked after.
"""

import contextlib
import json
import os
import pathlib
import socket

from tfcompress.atomic import temporary_folder
from tfcompress.errors import InvalidValueError, StepError, require
from tfcompress.executor.call import check_answer, make_call
from tfcompress.executor.ray_worker import do_step
from tfcompress.executor.schedule import Schedule
from tfcompress.processes import deciding_variables

_LOOK_SECONDS = 5  # between two looks at the cluster, and for it to answer
_OBJECT_STORE_BYTES = 80 * 2**20  # about the least that Ray takes: texts pass through
_GIB = 2**30


class RayExecutor:
    """Does steps as tasks of Ray, connected until this object is left.

    Args:
        num_workers: most tasks at a time.
        output_path: file that all that they print is appended to; workers share it.
        address: "auto" for the cluster that runs on this machine, "HOST:PORT", or None:
            one is started here that has room for `num_workers`.
    Raises:
        MissingDependencyError: if Ray is not installed.
        InvalidValueError: if the address is of another kind.
    """

    def __init__(self, num_workers, output_path, address=None):
        self._ray = require("ray", extra="ray")
        host, _, port = (address or "auto").rpartition(":")
        if address not in (None, "auto") and ("/" in host or not port.isdecimal()):
            raise InvalidValueError(
                f"--ray_address must be auto or HOST:PORT, got {address!r}."
            )
        self._num_workers = num_workers
        self._output_path = str(pathlib.Path(output_path).absolute())
        self._address = address
        self._stack = contextlib.ExitStack()
        self._is_connected = False

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stack.close()
        self._is_connected = False

    def run(self, steps, on_done=lambda step: None):
        """Does the steps that are not done; arguments and errors as `SerialExecutor`'s.

        Raises:
            StepError: if Ray cannot be reached or goes away, no machine has what a step
                needs, or a step's worker has ended too often.
        """
        schedule = Schedule(steps)
        if schedule.is_finished:
            return
        if not self._is_connected:
            self._connect(steps)
        running = {}
        try:
            while not schedule.is_finished:
                self._begin(schedule, running)
                ready, _ = self._ray.wait(list(running), timeout=_LOOK_SECONDS)
                if not ready:
                    self._look()
                for reference in ready:
                    step = running.pop(reference)
                    if schedule.end(step, self._take(step, reference)):
                        on_done(step)
        finally:
            for reference in running:
                with contextlib.suppress(Exception):  # gone with the cluster
                    self._ray.cancel(reference, force=True)

    def _begin(self, schedule, running):
        """Sends steps to Ray as long as there are workers for them."""
        while len(running) < self._num_workers:
            step = schedule.begin()
            if step is None:
                return
            task = {
                "call": make_call(step),
                "output_path": self._output_path,
                "variables": deciding_variables(),
            }
            function = self._ray.remote(do_step).options(
                name=step.name,
                num_cpus=self._num_cores(step),
                memory=step.memory_bytes or None,
                max_retries=0,  # whether it is done our files say
            )
            running[function.remote(json.dumps(task))] = step

    def _take(self, step, reference):
        """Takes a task's end; returns how its process ended, or None if it did not."""
        exceptions = self._ray.exceptions
        try:
            result = json.loads(self._ray.get(reference))
        except exceptions.RayTaskError as error:
            raise StepError(
                f"A Ray worker could not begin the step {step.name!r}: "
                f"{_last_line(error)}. Is the same tfcompress installed there?"
            ) from error
        except exceptions.RayError as error:
            return f"was lost: {_first_sentence(error)}"
        if result["answer"] is not None:
            check_answer(step, result["answer"])
        return result["death"]

    def _num_cores(self, step):
        """Returns the cores to ask for: for an exclusive step all of a machine.

        Raises:
            StepError: if no machine has what the step needs; Ray would wait for one.
        """
        machines = [node["Resources"] for node in self._living_nodes()]
        fitting = [
            machine.get("CPU", 0)
            for machine in machines
            if machine.get("CPU", 0) >= step.num_cores
            and machine.get("memory", 0) >= step.memory_bytes
        ]
        if not fitting:
            found = "; ".join(
                f"{machine.get('CPU', 0):g} cores and "
                f"{machine.get('memory', 0) / _GIB:.1f} GiB"
                for machine in machines
            )
            raise StepError(
                f"The step {step.name!r} needs {step.num_cores} cores and "
                f"{step.memory_bytes / _GIB:.1f} GiB, and no machine of the Ray "
                f"cluster has them: {found}."
            )
        return max(fitting) if step.is_exclusive else step.num_cores

    def _connect(self, steps):
        quiet = {"log_to_driver": False, "configure_logging": False}
        try:
            if self._address is None:
                self._start(steps, quiet)
            else:
                address = self._resolve()
                self._ray.init(address=address, **quiet)
        except StepError:
            raise
        except (OSError, RuntimeError, ValueError) as error:  # Ray's are all of these
            what = "started here" if self._address is None else "reached"
            raise StepError(
                f"Ray cannot be {what}: {_first_sentence(error)}."
            ) from error
        self._is_connected = True
        self._stack.callback(self._ray.shutdown)
        context = self._ray.get_runtime_context()
        self._node, self._head = context.get_node_id(), context.gcs_address

    def _start(self, steps, quiet):
        """Starts a cluster of this machine alone, with its files in a folder of ours.

        The names of Ray's sockets may be 107 characters long: the folder is not that of
        the run.
        """
        folder = temporary_folder(os.environ.get("RAY_TMPDIR", "/tmp"))
        path = self._stack.enter_context(folder)
        num_cores = max(step.num_cores for step in steps)
        memory = max(step.memory_bytes for step in steps)
        self._ray.init(
            address="local",
            num_cpus=self._num_workers * num_cores,
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            _memory=self._num_workers * memory + _GIB,
            _temp_dir=str(path),
            **quiet,
        )

    def _resolve(self):
        """Returns HOST:PORT of the cluster, which answers there.

        Ray looks for one for minutes, and ends the process that asked in vain.
        """
        from ray._private.services import canonicalize_bootstrap_address

        try:
            address = canonicalize_bootstrap_address(self._address)
        except ConnectionError:
            address = None
        if address is None:
            raise StepError(
                "No Ray cluster runs on this machine. Start one by `ray start --head`, "
                "give --ray_address=HOST:PORT, or leave --ray_address out."
            )
        if not _answers(address):
            raise StepError(
                f"There is no Ray cluster at {self._address}: nobody answers. Check "
                "--ray_address and that the cluster runs."
            )
        return address

    def _look(self):
        """Raises `StepError` if the cluster has gone."""
        if not _answers(self._head) or self._node not in {
            node["NodeID"] for node in self._living_nodes()
        }:
            raise StepError(
                f"The Ray cluster at {self._head} has gone away. What is done is kept: "
                "give the same command again to go on."
            )

    def _living_nodes(self):
        return [node for node in self._ray.nodes() if node["Alive"]]


def _answers(address):
    """Returns whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _LOOK_SECONDS).close()
    except OSError:
        return False
    return True


def _first_sentence(error):
    """Returns the beginning of Ray's message, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(". ")[0].rstrip(".")


def _last_line(error):
    return str(error).strip().splitlines()[-1].rstrip(".")
