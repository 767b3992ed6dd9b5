"""Write supervisord's configuration: one section a program, everything in the stack's own folders."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from radbus_cli.local.layout import Layout
from radbus_cli.local.programs import Program


def configuration_file(layout: Layout) -> Path:
    """Give the file of a stack's supervisord."""
    return layout.run_folder / "supervisord.conf"


def write_configuration(layout: Layout, programs: Iterable[Program]) -> None:
    """Write the configuration, readable by this user alone because it holds the stores' keys."""
    sections = (_daemon_sections(layout), *(_program_section(layout, program) for program in programs))
    file = configuration_file(layout)
    file.touch(mode=0o600)
    file.write_text("\n".join(sections))


def _daemon_sections(layout: Layout) -> str:
    sections = {
        "unix_http_server": {"file": str(layout.socket), "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "supervisord": {
            "logfile": str(layout.log("supervisord")),
            "logfile_maxbytes": "10MB",
            "logfile_backups": "2",
            "pidfile": str(layout.run_folder / "supervisord.pid"),
            "childlogdir": str(layout.root / "logs"),
            "directory": str(layout.root),
            "nodaemon": "false",
            # Saying so silences its warning; as root it would run as root all the same.
            **({"user": "root"} if os.geteuid() == 0 else {}),
        },
    }
    return "\n".join(_section(name, values) for name, values in sections.items())


def _program_section(layout: Layout, program: Program) -> str:
    # By `env`, not by supervisord's own environment syntax, which cannot hold every value.
    assignments = (f"{name}={value}" for name, value in sorted(program.environment.items()))
    command = (shutil.which("env") or "/usr/bin/env", *assignments, *program.command)
    return _section(
        f"program:{program.name}",
        {
            "command": shlex.join(command),
            "directory": str(program.folder),
            "priority": str(int(program.phase)),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "3",
            "stopwaitsecs": str(program.stop_wait_s),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(layout.log(program.name)),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "3",
        },
    )


def _section(name: str, values: dict[str, str]) -> str:
    lines = (f"{key}={value.replace('%', '%%')}" for key, value in values.items())
    return "\n".join((f"[{name}]", *lines, ""))
