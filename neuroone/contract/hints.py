"""What to do about a link, in English and Portuguese: the only place where these sentences are written.

The bridge publishes the English text as ``hint`` of a stream's state. The monitor shows it in the language of its
window. The teacher's page has the general texts in its JSON files; a test holds them equal to these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from neuroone.contract.messages import Link, StreamState


@dataclass(frozen=True, slots=True)
class Hint:
    """What to do about one state of a link; ``{device}`` stands for the port, file or address."""

    english: str
    portuguese: str

    def text(self, device: str | None = None, language: str = "en") -> str:
        """Return the sentence about this device; Portuguese if the language's code begins with ``pt``."""
        template = self.portuguese if language.startswith("pt") else self.english
        return template.format(device=device or "")


SEARCHING: Final = Hint("Looking for a headset: switch it on.", "Procurando um headset: ligue-o.")
NO_PORT: Final = Hint(
    "The port is not there, or nothing answers at it: plug the headset's adapter in or pair the headset, switch it on "
    "and keep it near.",
    "A porta não existe ou nada responde nela: conecte o adaptador ou faça o pareamento do headset, ligue-o e "
    "mantenha-o por perto.",
)
NO_PORT_FOUND: Final = Hint(
    "No serial port looks like a headset: plug the adapter in or pair the headset, or name its port with --port. "
    "serial-bridge ports lists what is there.",
    "Nenhuma porta serial parece ser de um headset: conecte o adaptador ou faça o pareamento do headset, ou informe a "
    "porta com --port. O comando serial-bridge ports lista as portas.",
)
NO_ANSWER: Final = Hint(
    "The headset behind {device} does not answer: switch it on and keep it near.",
    "O headset em {device} não responde: ligue-o e mantenha-o por perto.",
)
NO_SERVER: Final = Hint(
    "Nothing answers at {device}: start what serves it, or check the address.",
    "Nada responde em {device}: inicie o programa que atende nesse endereço ou confira o endereço.",
)
NO_SUCH_PORT: Final = Hint(
    "There is no {device}: plug the headset's adapter in, or choose another port.",
    "{device} não existe: conecte o adaptador do headset ou escolha outra porta.",
)
NO_SUCH_PORT_USB: Final = Hint(
    NO_SUCH_PORT.english + " If it is plugged in, remove brltty, which takes such adapters.",
    NO_SUCH_PORT.portuguese + " Se já estiver conectado, remova o brltty, que ocupa esses adaptadores.",
)
NO_PERMISSION: Final = Hint(
    "You may not open {device}. On Linux: sudo usermod -aG dialout $USER, then log out and in again.",
    "Sem permissão para abrir {device}. No Linux: sudo usermod -aG dialout $USER; depois saia da sessão e entre de "
    "novo.",
)
PORT_BUSY: Final = Hint(
    "Another program uses {device}: close it. On Linux brltty and ModemManager also take such ports.",
    "Outro programa está usando {device}: feche-o. No Linux, brltty e ModemManager também ocupam essas portas.",
)
UNPLUGGED: Final = Hint(
    "{device} went away: plug the headset's adapter in again. If it is plugged in, on Linux remove brltty, which takes "
    "such adapters.",
    "{device} foi desconectado: conecte novamente o adaptador do headset. Se já estiver conectado, no Linux remova o "
    "brltty, que ocupa esses adaptadores.",
)
PORT_LOST: Final = Hint(
    "{device} went away: plug the headset's adapter in again.",
    "{device} foi desconectado: conecte novamente o adaptador do headset.",
)
PORT_LOST_USB: Final = Hint(
    PORT_LOST.english + " If it is plugged in, remove brltty, which takes such adapters.",
    PORT_LOST.portuguese + " Se já estiver conectado, remova o brltty, que ocupa esses adaptadores.",
)
SILENT: Final = Hint(
    "Nothing comes from {device}: is the headset switched on, charged and near? On Windows take the outgoing Bluetooth "
    "port, not the incoming one.",
    "Nada chega de {device}: o headset está ligado, carregado e por perto? No Windows, use a porta Bluetooth de saída, "
    "não a de entrada.",
)
NO_FRAMES: Final = Hint(
    "What comes from {device} makes no sense: it is another device, or its speed is none of those tried. Choose with "
    "--port and --baud.",
    "O que chega de {device} não faz sentido: é outro dispositivo, ou a velocidade não é nenhuma das testadas. Escolha "
    "com --port e --baud.",
)
NO_FRAMES_YET: Final = Hint(
    "What comes from {device} makes no sense so far: other speeds are being tried.",
    "O que chega de {device} ainda não faz sentido: outras velocidades estão sendo testadas.",
)
LEFT_ALONE: Final = Hint(
    "What a port sent was not a headset's: it is tried again within ten minutes. To have it tried now, unplug it and "
    "plug it in again, or choose it with --port.",
    "O que uma porta enviou não era de um headset: ela será testada de novo em até dez minutos. Para testá-la agora, "
    "desconecte e conecte de novo, ou escolha-a com --port.",
)
STANDBY: Final = Hint(
    "The dongle waits for its headset: switch the headset on.", "O dongle espera pelo headset: ligue o headset."
)
SCANNING: Final = Hint(
    "The dongle looks for its headset: switch the headset on and keep it near.",
    "O dongle procura o headset: ligue-o e mantenha-o por perto.",
)
NO_HEADSET: Final = Hint(
    "The dongle finds no headset: is it switched on, charged and near, and not linked to another one?",
    "O dongle não encontra nenhum headset: ele está ligado, carregado, por perto e sem vínculo com outro dongle?",
)
LINE_DAMAGED: Final = Hint(
    "The line changes bytes: readings are withheld, they may be wrong. Try another cable, adapter or USB socket.",
    "A linha altera bytes: as leituras são retidas, pois podem estar erradas. Tente outro cabo, adaptador ou entrada "
    "USB.",
)

SAMPLES_MISSING: Final = Hint(
    "Much of what the headset sends at {device} is missing. If another program uses this port too, close it; else "
    "bring the headset nearer and charge it.",
    "Falta muito do que o headset envia em {device}. Se outro programa também usa essa porta, feche-o; se não, "
    "aproxime o headset e carregue-o.",
)
BLE_OFF: Final = Hint(
    "This computer has no Bluetooth, or it is off: plug a Bluetooth adapter in, or switch it on. On Linux: "
    "sudo systemctl start bluetooth.",
    "Este computador não tem Bluetooth, ou ele está desligado: conecte um adaptador Bluetooth ou ligue-o. No Linux: "
    "sudo systemctl start bluetooth.",
)
BLE_DENIED: Final = Hint(
    "The system does not let this program use Bluetooth: allow it in the system's privacy settings.",
    "O sistema não deixa este programa usar o Bluetooth: permita-o nas configurações de privacidade do sistema.",
)
BLE_STUCK: Final = Hint(
    "The Bluetooth of this computer does not answer: switch it off and on again, or restart the computer.",
    "O Bluetooth deste computador não responde: desligue-o e ligue-o de novo, ou reinicie o computador.",
)
BLE_NOT_IN_REACH: Final = Hint(
    "No headset shows itself over Bluetooth LE at {device}: switch it off and on, keep it near, and disconnect it from "
    "phones and other programs. serial-bridge ports lists what is in reach.",
    "Nenhum headset aparece por Bluetooth LE em {device}: desligue-o e ligue-o, mantenha-o por perto e desconecte-o de "
    "celulares e de outros programas. O comando serial-bridge ports lista o que está ao alcance.",
)
BLE_NO_ANSWER: Final = Hint(
    "The headset at {device} does not accept the connection: switch it off and on, and keep it near.",
    "O headset em {device} não aceita a conexão: desligue-o e ligue-o, e mantenha-o por perto.",
)
BLE_NO_HEADSET: Final = Hint(
    "What answers at {device} is no headset of a known kind: choose with --port ble:ADDRESS. serial-bridge ports lists "
    "what is in reach.",
    "O que responde em {device} não é um headset de tipo conhecido: escolha com --port ble:ENDEREÇO. O comando "
    "serial-bridge ports lista o que está ao alcance.",
)
BLE_LOST: Final = Hint(
    "{device} went away: switch the headset on and keep it near.",
    "{device} foi desconectado: ligue o headset e mantenha-o por perto.",
)
BLE_SILENT: Final = Hint(
    "Nothing comes from {device}: is the headset switched on, charged and near?",
    "Nada chega de {device}: o headset está ligado, carregado e por perto?",
)
PAGE_NO_ANSWER: Final = Hint(
    "{device} does not answer: switch it off and on, and keep it near.",
    "{device} não responde: desligue-o e ligue-o, e mantenha-o por perto.",
)
PAGE_DENIED: Final = Hint(
    "The browser may not use {device}: allow it in the settings of this page, at the icon beside the address.",
    "O navegador não pode usar {device}: permita-o nas configurações desta página, no ícone ao lado do endereço.",
)
PAGE_BUSY: Final = Hint(
    "Another program or page uses {device}: close it.",
    "Outro programa ou outra página está usando {device}: feche-o.",
)
PAGE_LOST: Final = Hint(
    "{device} went away: switch it on and keep it near. If it has a cable or an adapter, plug that in again.",
    "{device} foi desconectado: ligue-o e mantenha-o por perto. Se tiver cabo ou adaptador, conecte-o de novo.",
)
PAGE_NO_FRAMES: Final = Hint(
    "What comes from {device} is not what a headset sends. If this stays, end and choose another one.",
    "O que chega de {device} não é o que um headset envia. Se continuar assim, encerre e escolha outro.",
)

GENERAL: Final[Mapping[Link, Hint]] = {
    Link.SEARCHING: SEARCHING,
    Link.NO_PORT: NO_PORT,
    Link.NO_PERMISSION: NO_PERMISSION,
    Link.PORT_BUSY: PORT_BUSY,
    Link.UNPLUGGED: UNPLUGGED,
    Link.SILENT: SILENT,
    Link.NO_FRAMES: NO_FRAMES,
    Link.STANDBY: STANDBY,
    Link.SCANNING: SCANNING,
    Link.NO_HEADSET: NO_HEADSET,
    Link.CONNECTED: LINE_DAMAGED,
}
"""For readers that know only the link. A link that ended in order needs no hint."""
SPECIFIC: Final[Mapping[Link, tuple[Hint, ...]]] = {
    Link.NO_PORT: (
        NO_PORT_FOUND,
        NO_ANSWER,
        NO_SERVER,
        NO_SUCH_PORT,
        NO_SUCH_PORT_USB,
        BLE_OFF,
        BLE_STUCK,
        BLE_NOT_IN_REACH,
        BLE_NO_ANSWER,
    ),
    Link.NO_PERMISSION: (BLE_DENIED,),
    Link.SILENT: (BLE_SILENT,),
    Link.UNPLUGGED: (PORT_LOST, PORT_LOST_USB, BLE_LOST),
    Link.NO_FRAMES: (NO_FRAMES_YET, LEFT_ALONE, BLE_NO_HEADSET),
    Link.CONNECTED: (SAMPLES_MISSING,),
}
"""What the bridge publishes where it knows more than the link."""

IN_PAGE: Final[Mapping[Link, Hint]] = {
    **GENERAL,
    Link.NO_PORT: PAGE_NO_ANSWER,
    Link.NO_PERMISSION: PAGE_DENIED,
    Link.PORT_BUSY: PAGE_BUSY,
    Link.UNPLUGGED: PAGE_LOST,
    Link.SILENT: BLE_SILENT,
    Link.NO_FRAMES: PAGE_NO_FRAMES,
}
"""What the student's page says of the headset that it reads itself, with the headset's name as the device."""


def of_state(state: StreamState, language: str) -> str | None:
    """Return a state's hint in a language; None if it has none.

    A specific hint is recognized by its English text. A text of another version is replaced by the general one of its
    link, or shown as it is where the link has none.
    """
    if state.hint is None:
        return None
    for specific in SPECIFIC.get(state.link, ()):
        if state.hint == specific.text(state.device):
            return specific.text(state.device, language)
    general = GENERAL.get(state.link)
    return state.hint if general is None else general.text(state.device, language)
