"""The local stack as one thing: up, down, status, logs, and for tests the death of a single program."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from radbus_cli.local import front, logs, mongo, object_store, rabbitmq, services, triton
from radbus_cli.local.environment import external_servers, service_environment
from radbus_cli.local.errors import ProgramNotReadyError, StackError
from radbus_cli.local.layout import DEFAULT_BASE_PORT, HOST, SINGLE_SERVICES, Layout, replica_names
from radbus_cli.local.leftovers import end_processes
from radbus_cli.local.ports import refuse_taken_ports, running_lock
from radbus_cli.local.programs import Phase, Program
from radbus_cli.local.supervisor import ProgramState, Supervisor

_POLL_S = 0.1
# One that the supervisor had to start more often than this does not get ready any more.
_MAX_STARTS = 3


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """What an operator wants to know of one program."""

    name: str
    state: str
    pid: int
    uptime_s: int
    port: int
    ready: bool


class LocalStack:
    """RabbitMQ, MongoDB, the object store, Triton, the services and nginx under one supervisor, in one folder."""

    def __init__(
        self,
        root: Path,
        base_port: int = DEFAULT_BASE_PORT,
        *,
        workers: int = 2,
        replicas: int | None = None,
        machines_dir: Path | None = None,
        given: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a stack; nothing is started or written yet.

        Args:
            root: The folder for all data, logs and sockets.
            base_port: The first of the hundred ports that the stack may use.
            workers: How many workers run.
            replicas: How many of each other service run, by default as many as do now, or one. Of more than one the
                programs are `ingest-0`, `ingest-1` and so on, and `start`, `stop`, `kill` of `ingest` mean all of them.
            machines_dir: Triton's model repository; by default the repository's own.
            given: Settings that replace the stack's own, by default the environment: a server whose URL is in it
                (such as `RADBUS_AMQP_URL`) is used and not started.
        """
        self.layout = Layout(root.absolute(), base_port)
        self._workers = workers
        self._wanted_replicas = replicas
        self._given = dict(os.environ if given is None else given)
        if machines_dir is not None:
            self._given["RADBUS_MACHINES_DIR"] = str(machines_dir.absolute())
        self._supervisor = Supervisor(self.layout)

    def environment(self) -> dict[str, str]:
        """Give the settings by which services, tests and tools find the servers."""
        return service_environment(self.layout, self._given)

    def url(self, service: str) -> str:
        """Give the HTTP address of `front`, where clients find all services, or of one, such as `ingest`."""
        return f"http://{HOST}:{self.layout.port(service)}"

    def replicas_of(self, service: str) -> tuple[str, ...]:
        """Name the programs that are meant by the name of a service; any other name means itself."""
        return replica_names(service, self._replicas()) if service in SINGLE_SERVICES else (service,)

    def programs(self, *, workers: int | None = None, replicas: int | None = None) -> tuple[Program, ...]:
        """Give everything that this stack runs, in the order in which it starts."""
        count = self._workers if workers is None else workers
        of_each = self._replicas() if replicas is None else replicas
        layout, environment = self.layout, self.environment()
        external = external_servers(self._given)
        found: list[Program] = []
        if "rabbitmq" not in external:
            found += [rabbitmq.epmd(layout), rabbitmq.rabbitmq(layout)]
        if "mongo" not in external:
            found.append(mongo.mongo(layout))
        if "s3" not in external:
            found.append(object_store.s3(layout, environment))
        if "triton" not in external:
            found.append(triton.triton(layout, Path(environment["RADBUS_MACHINES_DIR"])))
        return (*found, front.front(layout), *services.services(layout, environment, workers=count, replicas=of_each))

    def up(self, *, services: bool = True, timeout_s: float = 120.0) -> list[ProgramStatus]:
        """Start what does not run yet and wait until all of it is ready; after a failure the others go on running.

        Raises:
            ProgramNotReadyError: A program ended or was not ready in time; the text says which, with its log's end.
        """
        programs = self.programs()
        wanted = [program for program in programs if services or program.phase < Phase.FRONT]
        deadline = time.monotonic() + timeout_s
        self.layout.run_folder.mkdir(parents=True, exist_ok=True)
        with running_lock(self.layout.run_folder / "lock", timeout_s=timeout_s):
            self._prepare(programs, wanted)
            for phase in Phase:
                group = [program for program in wanted if program.phase is phase]
                for program in group:
                    self._supervisor.start(program.name)
                if phase is Phase.NAME_SERVER:
                    # RabbitMQ would start a name server of its own if it found none.
                    self._wait(group, deadline)
            self._wait(wanted, deadline)
        return self.status()

    def down(self) -> None:
        """Stop the services, then the servers, and leave no process of this stack behind."""
        if not self.layout.root.exists():
            return
        if self._supervisor.is_running():
            known = self._supervisor.states()
            phase_of = {program.name: program.phase for program in self._describe(known)}
            for phase in reversed(Phase):
                self._supervisor.stop([name for name in known if phase_of.get(name, Phase.SERVICE) is phase])
            self._supervisor.shut_down()
        self._clear_the_dead()

    def status(self) -> list[ProgramStatus]:
        """Tell of each program whether it runs and whether it is ready."""
        states = self._supervisor.states() if self._supervisor.is_running() else {}
        described = {program.name: program for program in self._describe(states)}
        absent = ProgramState(name="", state="DOWN", process_id=0, uptime_s=0)
        found = []
        for name in [*described, *(name for name in states if name not in described)]:
            state, program = states.get(name, absent), described.get(name)
            found.append(
                ProgramStatus(
                    name=name,
                    state=state.state,
                    pid=state.process_id,
                    uptime_s=state.uptime_s,
                    port=program.ports[0] if program else 0,
                    ready=bool(program and state.process_id and program.is_ready()),
                )
            )
        return found

    def logs(self, name: str, *, lines: int = 100, follow: bool = False) -> Iterator[str]:
        """Give the last lines of a program's log, then, when asked to follow, each new line as it is written."""
        return logs.read(self.layout.log(name), lines=lines, follow=follow)

    def wipe(self) -> None:
        """Remove all data of a stack that is down."""
        if self._supervisor.is_running():
            raise StackError("The stack is running: `radbus down` first, then its data can be removed.")
        self._clear_the_dead()
        if self.layout.root.exists():
            shutil.rmtree(self.layout.root)

    def start(self, name: str) -> None:
        """Start one program, or every replica of a service, again, without waiting for readiness."""
        for program in self.replicas_of(name):
            self._supervisor.start(program)

    def stop(self, name: str) -> None:
        """Stop one program, or every replica of a service, cleanly; it stays down until it is started."""
        self._supervisor.stop(self.replicas_of(name))

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL, *, restart: bool = False) -> None:
        """Send a signal to a program and its children; a killed one stays dead unless `restart` is given.

        Of a service, to every replica.
        """
        for program in self.replicas_of(name):
            self._kill(program, number, restart=restart)

    def _kill(self, name: str, number: signal.Signals, *, restart: bool) -> None:
        state = self._state_of(name)
        if state.process_id == 0:
            raise StackError(f"{name} does not run: it is {state.state}.")
        if number is not signal.SIGKILL or restart:
            os.killpg(state.process_id, number)
            return
        # Frozen, it cannot act on the supervisor's polite request, which is only there to prevent a restart.
        os.killpg(state.process_id, signal.SIGSTOP)
        self._supervisor.ask_to_stop(name)
        os.killpg(state.process_id, signal.SIGKILL)
        self._supervisor.stop([name])

    def wait_until_ready(self, *names: str, timeout_s: float = 60.0) -> None:
        """Wait for some programs, or for every started one when no name is given."""
        states = self._supervisor.states()
        named = tuple(program for name in names for program in self.replicas_of(name))
        wanted = named or tuple(name for name, state in states.items() if not state.is_stopped)
        self._wait([program for program in self.programs() if program.name in wanted], time.monotonic() + timeout_s)

    def rabbitmq_tool(self, tool: str, *arguments: str, timeout_s: float = 60.0) -> str:
        """Run `rabbitmqctl`, `rabbitmq-diagnostics` or another of the broker's tools and give what it prints."""
        done = subprocess.run(
            [*rabbitmq.rabbitmq_command(self.layout, tool), *arguments],
            env={**os.environ, **rabbitmq.rabbitmq_environment(self.layout)},
            cwd=self.layout.folder("rabbitmq"),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"{tool} {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _prepare(self, programs: tuple[Program, ...], wanted: list[Program]) -> None:
        names = {program.name for program in programs}
        self.layout.log("any").parent.mkdir(parents=True, exist_ok=True)
        for program in programs:
            program.folder.mkdir(parents=True, exist_ok=True)
        if "rabbitmq" in names:
            rabbitmq.write_rabbitmq_files(self.layout)
        if "triton" in names:
            triton.write_triton_files(self.layout)
        is_new = front.write_front_files(self.layout, replicas=self._replicas())
        if self._supervisor.is_running():
            if is_new and not self._state_of("front").is_stopped:
                self._supervisor.stop(["front"])  # it is started with what it is to know
            self._supervisor.adopt(programs)
            return
        self._clear_the_dead()
        refuse_taken_ports(wanted)
        self._supervisor.launch(programs)

    def _wait(self, programs: Iterable[Program], deadline: float) -> None:
        waiting = list(programs)
        process_ids: dict[str, set[int]] = {program.name: set() for program in waiting}
        while waiting := [program for program in waiting if not program.is_ready()]:
            states = self._supervisor.states()
            for program in waiting:
                state, seen = states[program.name], process_ids[program.name]
                seen |= {state.process_id} - {0}
                if state.is_stopped or len(seen) > _MAX_STARTS:
                    raise self._not_ready(program, f"ended while starting ({state.state.lower()})")
            if time.monotonic() > deadline:
                raise self._not_ready(waiting[0], "was not ready in time")
            time.sleep(_POLL_S)

    def _not_ready(self, program: Program, what: str) -> ProgramNotReadyError:
        # Triton draws wide tables; the reason stands before them.
        told = [line for line in self.logs(program.name, lines=200) if not line.startswith(("|", "+-"))]
        end = "\n".join(f"    {line}" for line in told[-20:])
        return ProgramNotReadyError(f"{program.name} {what}. Its log, {self.layout.log(program.name)}, ends:\n{end}")

    def _describe(self, states: Mapping[str, ProgramState]) -> tuple[Program, ...]:
        workers = sum(name.startswith("worker-") for name in states)
        try:
            return self.programs(workers=workers, replicas=_replicas_in(states)) if states else self.programs()
        except StackError:  # a server's program is gone since it was started
            return ()

    def _replicas(self) -> int:
        if self._wanted_replicas is not None:
            return self._wanted_replicas
        return _replicas_in(self._supervisor.states()) if self._supervisor.is_running() else 1

    def _state_of(self, name: str) -> ProgramState:
        state = self._supervisor.states().get(name)
        if state is None:
            raise StackError(f"The stack has no program {name!r}.")
        return state

    def _clear_the_dead(self) -> None:
        end_processes(self.layout.root)
        self.layout.socket.unlink(missing_ok=True)
        triton.remove_shared_memory(self.layout)


def _replicas_in(states: Iterable[str]) -> int:
    return max(1, sum(name.startswith(f"{SINGLE_SERVICES[0]}-") for name in states))
