"""The `neuroone` command."""

import sys

from neuroone import cluster, compose_settings, logins, tokens
from neuroone.doctor import command as doctor
from neuroone.forward import service as forward
from neuroone.forward.settings import ForwardSettings
from neuroone.maintenance import backup, command, restore, self_test
from neuroone.service import lifecycle
from neuroone.up import command as up
from neuroone.up import other_version

COMMANDS = {
    "up": lifecycle.Command(up.UpSettings, other_version.run, "Run the whole system on this machine, until Ctrl-C."),
    "doctor": lifecycle.Command(
        doctor.DoctorSettings, doctor.run, "Check what commonly goes wrong, and print what to do."
    ),
    "token": lifecycle.Command(tokens.TokenSettings, tokens.run, "Make, list or revoke the tokens of who watches."),
    "backup": lifecycle.Command(
        backup.BackupSettings,
        backup.run,
        "Write recordings, settings and logins into a new folder, also while it works.",
    ),
    "restore": lifecycle.Command(restore.RestoreSettings, restore.run, "Bring back a backup beside what is there."),
    "update": lifecycle.Command(
        command.UpdateSettings, command.update, "Go over to another version; go back if that one does not work."
    ),
    "rollback": lifecycle.Command(command.RollbackSettings, command.rollback, "Go back to the version before."),
    "self-test": lifecycle.Command(
        self_test.SelfTestSettings,
        self_test.run,
        "Run the system once with a simulated headset, beside what runs here.",
    ),
    "forward": lifecycle.Command(
        ForwardSettings, forward.run, "Bring what happens at this school to its district.", record="forwarder"
    ),
    "secrets": lifecycle.Command(logins.SecretsSettings, logins.run, "Make the logins of a server, or print them."),
    "cluster": lifecycle.Command(
        cluster.ClusterSettings, cluster.run, "Make what the nodes of a NATS cluster and its services need."
    ),
    "check-settings": lifecycle.Command(
        compose_settings.ComposeSettings,
        compose_settings.run,
        "Check the settings of docker compose, in variables.",
        record="check_settings",
        unknown=compose_settings.unknown,
        reader="compose.yaml",
    ),
}


def main() -> int:
    """Run the command line."""
    return lifecycle.main("neuroone", COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
