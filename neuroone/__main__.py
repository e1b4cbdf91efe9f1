"""The `neuroone` command."""

import sys

from neuroone import compose_settings, logins, tokens
from neuroone.doctor import command as doctor
from neuroone.service import lifecycle
from neuroone.up import command as up

COMMANDS = {
    "up": lifecycle.Command(up.UpSettings, up.run, "Run the whole system on this machine, until Ctrl-C."),
    "doctor": lifecycle.Command(
        doctor.DoctorSettings, doctor.run, "Check what commonly goes wrong, and print what to do."
    ),
    "token": lifecycle.Command(tokens.TokenSettings, tokens.run, "Make, list or revoke the tokens of who watches."),
    "secrets": lifecycle.Command(logins.SecretsSettings, logins.run, "Make the logins of a server, or print them."),
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
