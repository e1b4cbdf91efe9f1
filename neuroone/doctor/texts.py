"""The texts of `neuroone doctor`: for each code what was found and, for a problem, what to do; in two languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LANGUAGES: Final = ("en", "pt-BR")


@dataclass(frozen=True, slots=True)
class Words:
    """What was found, and what to do about it; ``{...}`` stands for a fact of the finding."""

    says: str
    do: str = ""


HEADINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {"ok": "OK", "problem": "PROBLEM", "skipped": "--", "do": "What to do"},
    "pt-BR": {"ok": "OK", "problem": "PROBLEMA", "skipped": "--", "do": "O que fazer"},
}

ENGLISH: Final[Mapping[str, Words]] = {
    "port_ok": Words("{device} exists and can be opened."),
    "port_none": Words("No serial adapter is plugged into this computer."),
    "port_no_driver": Words(
        "The serial adapter {usb_id} is plugged in, but has no port: its driver {driver} is missing.",
        "sudo modprobe {driver}; if there is none: sudo apt install linux-modules-extra-$(uname -r). "
        "On Windows install the driver CH341SER from wch-ic.com. Then plug the adapter in again.",
    ),
    "port_brltty": Words(
        "The serial adapter {usb_id} is plugged in, but brltty, a program for Braille displays, has taken its port.",
        "sudo apt remove brltty, then plug the adapter in again.",
    ),
    "port_missing": Words(
        "There is no port {device}.",
        "Plug the adapter in; `serial-bridge ports` lists the ports that exist. A Bluetooth headset must be paired.",
    ),
    "port_no_permission": Words(
        "You have no permission to open {device}.", "sudo usermod -aG {group} $USER, then log out and in again."
    ),
    "port_taken": Words(
        "The program {program} has {device} open.",
        "ModemManager closes it after about ten seconds. Without a modem: sudo systemctl disable --now ModemManager. "
        "If it is brltty: sudo apt remove brltty.",
    ),
    "ws_ok": Words("{url} accepts WebSocket connections."),
    "ws_refused": Words(
        "Nothing listens at {url}.",
        "Start the gateway: docker compose up -d, or systemctl start neuroone-gateway, or neuroone up. "
        "If it runs, check which port it uses.",
    ),
    "ws_timeout": Words(
        "{url} does not answer.",
        "A firewall drops the packets, or the address belongs to another machine: see the firewall below, and find "
        "the server's address with `hostname -I`.",
    ),
    "ws_name": Words(
        "The name in {url} is not known here.", "Use the server's address, or correct its name in the DNS."
    ),
    "ws_tls": Words(
        "The certificate of {url} is not trusted here ({detail}).",
        "If the proxy's own authority made it, install the root certificate on each device; a public domain must point "
        "to this server, with ports 80 and 443 open.",
    ),
    "ws_proxy": Words(
        "A proxy answers at {url}, but finds no gateway (HTTP {status}).",
        "Start the gateway and read its log: docker compose logs ws_gateway, or journalctl -u neuroone-gateway.",
    ),
    "ws_too_many": Words(
        "The gateway refuses more connections from this address (HTTP 429).",
        "Something connects again and again. Behind a proxy, tell the gateway its address: NEUROONE_TRUSTED_PROXIES.",
    ),
    "ws_no_upgrade": Words(
        "The server at {url} does not speak WebSocket (HTTP {status}).",
        "Another program uses this port, or the proxy does not forward the headers Upgrade and Connection: see "
        "deploy/nginx/neuroone.conf.",
    ),
    "ws_no_broker": Words(
        "The gateway at {url} has lost its broker.", "See the broker below. Meanwhile the gateway keeps the readings."
    ),
    "network_ok": Words("Port {port} also works on {address}, the address for other machines."),
    "network_skipped": Words("There is no other address to try."),
    "network_closed": Words(
        "Port {port} works on this machine, but not on {address}, the address for other machines.",
        "The gateway listens on this machine only (--host 0.0.0.0 for all), or a firewall blocks the port.",
    ),
    "firewall_ok": Words("{firewall} allows port {port}."),
    "firewall_none": Words("No firewall of this machine blocks connections."),
    "firewall_unknown": Words("{firewall} is on; only root can read its rules (sudo)."),
    "firewall_closed": Words(
        "{firewall} is on and does not allow port {port}.",
        "sudo ufw allow {port}/tcp; with firewalld: sudo firewall-cmd --permanent --add-port={port}/tcp && "
        "sudo firewall-cmd --reload.",
    ),
    "csv_ok": Words("{dir} can be written; {free_mb} MB are free."),
    "csv_elsewhere": Words("The recordings are not in this directory; --data names theirs."),
    "csv_no_dir": Words("The directory {dir} does not exist.", "Create it, or name the right one with --data."),
    "csv_no_permission": Words(
        "This user cannot write to {dir}.",
        "sudo chown -R to the recorder's user (neuroone-recorder; 10001 under Docker); run this check as that user.",
    ),
    "csv_no_space": Words(
        "Only {free_mb} MB are free in {dir}.",
        "Free some space: move old recordings elsewhere. While the disk is full the recorder acknowledges nothing, and "
        "the broker keeps the readings until there is space.",
    ),
    "service_ok": Words("{service} is online ({instances})."),
    "service_offline": Words(
        "{service} was online before and is offline now.",
        "Start it: docker compose up -d, or systemctl start neuroone-* (neuroone-gateway, neuroone-recorder).",
    ),
    "service_never": Words(
        "{service} was never seen on this broker.",
        "Start it with the same --broker and --site as the others.",
    ),
    "recorder_ok": Words("{service} reports that its disk works."),
    "recorder_disk": Words(
        "{service} cannot write to its disk.",
        "Read the reason in its log; most often the disk is full or the directory has another owner. Nothing is lost "
        "yet: the broker keeps the readings.",
    ),
    "clock_ok": Words("The clocks agree within {seconds} s."),
    "clock_unknown": Words("No service reported its time."),
    "clock_skew": Words(
        "The clock of {service} differs by {seconds} s from this computer's.",
        "Set both from the network: sudo timedatectl set-ntp true; on Windows: Settings, Time, Synchronize now.",
    ),
    "unit_ok": Words("{service} runs, restarted {restarts} times."),
    "unit_none": Words("Neither Docker nor systemd here knows a service of NeuroOne."),
    "unit_out_of_memory": Words(
        "{service} was killed because it had no memory left. The end of its log: {tail}",
        "Give it more (mem_limit in compose.yaml, MemoryMax in its unit) and report it: it should not need more.",
    ),
    "unit_failed": Words(
        "{service} ended with code {code} and does not run. The end of its log: {tail}",
        "Correct what the log says, then start it. Code 2 means a wrong setting.",
    ),
    "unit_restarts": Words(
        "{service} was restarted {restarts} times. The end of its log: {tail}",
        "Read its whole log: docker compose logs, or journalctl -u and the name.",
    ),
    "memory_ok": Words("{free_mb} MB of memory are free."),
    "memory_unknown": Words("This system does not report how much memory is free."),
    "memory_low": Words(
        "Only {free_mb} MB of memory are free.", "Close other programs, or give the machine more: 2 GB are enough."
    ),
    "values_ok": Words("{stream} sends values with good contact."),
    "values_none": Words("Nobody sends readings right now."),
    "stream_link": Words(
        "{stream} has no headset ({link}). {hint}",
        "Switch the headset on, keep it within 10 m, check its battery; see also the port above.",
    ),
    "signal_off": Words(
        "Nobody is wearing the headset of {stream} (poor signal {poor_signal}).",
        "Put the dry electrode on the skin of the forehead, without hair, and the clip on the ear lobe.",
    ),
    "signal_poor": Words(
        "{stream} has poor contact (poor signal {poor_signal}): attention and meditation do not change or are 0.",
        "Press the electrode to the forehead and the clip to the ear lobe, moisten both a little, wipe off make-up; "
        "then wait half a minute. Replace a weak battery.",
    ),
    "values_zero": Words(
        "{stream} sends only zeros.",
        "Wait half a minute after putting it on. If nothing changes, switch the headset off and on or replace its "
        "battery.",
    ),
    "broker_ok": Words("The broker at {address} lets us read ({version})."),
    "broker_refused": Words(
        "No broker listens at {address}.",
        "Start it: docker compose up -d mosquitto, or systemctl start neuroone-broker. Another address: --broker.",
    ),
    "broker_timeout": Words(
        "The broker at {address} does not answer.", "Check the address and the firewalls between here and there."
    ),
    "broker_name": Words("The name of the broker, {address}, is not known here.", "Use its address with --broker."),
    "broker_tls": Words(
        "The certificate of the broker at {address} is not trusted ({detail}).", "Name its authority with --broker-ca."
    ),
    "broker_login": Words(
        "The broker at {address} refuses our login ({detail}).",
        "Name the login: --broker file:/etc/neuroone/doctor.url, or mqtt://user:password@host. "
        "Under Docker: docker compose run --rm doctor.",
    ),
    "broker_acl": Words(
        "The broker at {address} accepts our login, but does not let it read the topics neuroone/v1.",
        "Use a login that may read, and check the broker's access list; `neuroone secrets` writes both.",
    ),
    "broker_old": Words(
        "The broker at {address} is too old ({version}).", "Install Mosquitto 2, or use the one of compose.yaml."
    ),
}

PORTUGUESE: Final[Mapping[str, Words]] = {
    "port_ok": Words("{device} está presente e pode ser aberta."),
    "port_none": Words("Nenhum adaptador serial está ligado a este computador."),
    "port_no_driver": Words(
        "O adaptador serial {usb_id} está ligado, mas não tem porta: falta o driver {driver}.",
        "sudo modprobe {driver}; se não houver: sudo apt install linux-modules-extra-$(uname -r). "
        "No Windows, instale o driver CH341SER de wch-ic.com. Depois, ligue o adaptador de novo.",
    ),
    "port_brltty": Words(
        "O adaptador serial {usb_id} está ligado, mas o brltty, um programa para linhas Braille, ocupou a porta.",
        "sudo apt remove brltty e ligue o adaptador de novo.",
    ),
    "port_missing": Words(
        "A porta {device} não existe.",
        "Ligue o adaptador; `serial-bridge ports` lista as que existem. Um headset Bluetooth precisa estar pareado.",
    ),
    "port_no_permission": Words(
        "Você não tem permissão para abrir {device}.",
        "sudo usermod -aG {group} $USER; depois, saia da sessão e entre de novo.",
    ),
    "port_taken": Words(
        "O programa {program} está com {device} aberta.",
        "O ModemManager a solta em cerca de dez segundos. Sem modem: sudo systemctl disable --now ModemManager. "
        "Para o brltty: sudo apt remove brltty.",
    ),
    "ws_ok": Words("{url} aceita conexões WebSocket."),
    "ws_refused": Words(
        "Nada escuta em {url}.",
        "Inicie o gateway: docker compose up -d, ou systemctl start neuroone-gateway, ou neuroone up. "
        "Se ele já roda, veja em que porta.",
    ),
    "ws_timeout": Words(
        "{url} não responde.",
        "Um firewall descarta os pacotes, ou o endereço é de outra máquina: veja o firewall abaixo e descubra o "
        "endereço do servidor com `hostname -I`.",
    ),
    "ws_name": Words("O nome em {url} não é conhecido aqui.", "Use o endereço do servidor ou corrija o nome no DNS."),
    "ws_tls": Words(
        "O certificado de {url} não é aceito aqui ({detail}).",
        "Se for da autoridade do próprio proxy, instale o certificado raiz em cada aparelho; um domínio público "
        "precisa apontar para este servidor, com as portas 80 e 443 abertas.",
    ),
    "ws_proxy": Words(
        "Um proxy responde em {url}, mas não encontra o gateway (HTTP {status}).",
        "Inicie o gateway e veja o log: docker compose logs ws_gateway, ou journalctl -u neuroone-gateway.",
    ),
    "ws_too_many": Words(
        "O gateway recusa mais conexões deste endereço (HTTP 429).",
        "Algo se conecta sem parar. Atrás de um proxy, informe o endereço dele ao gateway: NEUROONE_TRUSTED_PROXIES.",
    ),
    "ws_no_upgrade": Words(
        "O servidor em {url} não fala WebSocket (HTTP {status}).",
        "Outro programa usa esta porta, ou o proxy não repassa os cabeçalhos Upgrade e Connection: veja "
        "deploy/nginx/neuroone.conf.",
    ),
    "ws_no_broker": Words(
        "O gateway em {url} perdeu o broker.", "Veja o broker abaixo. Enquanto isso, o gateway guarda as leituras."
    ),
    "network_ok": Words("A porta {port} também funciona em {address}, o endereço para outras máquinas."),
    "network_skipped": Words("Não há outro endereço para testar."),
    "network_closed": Words(
        "A porta {port} funciona nesta máquina, mas não em {address}, o endereço para outras máquinas.",
        "O gateway escuta só nesta máquina (--host 0.0.0.0 para todas), ou um firewall bloqueia a porta.",
    ),
    "firewall_ok": Words("O {firewall} libera a porta {port}."),
    "firewall_none": Words("Nenhum firewall desta máquina bloqueia conexões."),
    "firewall_unknown": Words("O {firewall} está ligado; só o root pode ler as regras (sudo)."),
    "firewall_closed": Words(
        "O {firewall} está ligado e não libera a porta {port}.",
        "sudo ufw allow {port}/tcp; com firewalld: sudo firewall-cmd --permanent --add-port={port}/tcp && "
        "sudo firewall-cmd --reload.",
    ),
    "csv_ok": Words("É possível gravar em {dir}; há {free_mb} MB livres."),
    "csv_elsewhere": Words("As gravações não estão neste diretório; --data indica o delas."),
    "csv_no_dir": Words("O diretório {dir} não existe.", "Crie-o ou indique o certo com --data."),
    "csv_no_permission": Words(
        "Este usuário não pode gravar em {dir}.",
        "sudo chown -R para o usuário do gravador (neuroone-recorder; 10001 no Docker); rode esta verificação com ele.",
    ),
    "csv_no_space": Words(
        "Só há {free_mb} MB livres em {dir}.",
        "Libere espaço: leve gravações antigas para outro lugar. Com o disco cheio o gravador não confirma nada, e o "
        "broker guarda as leituras até haver espaço.",
    ),
    "service_ok": Words("{service} está online ({instances})."),
    "service_offline": Words(
        "{service} já esteve online e agora está offline.",
        "Inicie-o: docker compose up -d, ou systemctl start neuroone-* (neuroone-gateway, neuroone-recorder).",
    ),
    "service_never": Words(
        "{service} nunca foi visto neste broker.",
        "Inicie-o com o mesmo --broker e --site dos outros.",
    ),
    "recorder_ok": Words("{service} informa que seu disco funciona."),
    "recorder_disk": Words(
        "{service} não consegue gravar no disco.",
        "Veja o motivo no log, quase sempre disco cheio ou o dono do diretório. Nada se perdeu ainda: o broker guarda "
        "as leituras.",
    ),
    "clock_ok": Words("Os relógios diferem em no máximo {seconds} s."),
    "clock_unknown": Words("Nenhum serviço informou a hora."),
    "clock_skew": Words(
        "O relógio de {service} difere em {seconds} s do relógio deste computador.",
        "Acerte os dois pela rede: sudo timedatectl set-ntp true; no Windows: Configurações, Hora, Sincronizar agora.",
    ),
    "unit_ok": Words("{service} está rodando, reiniciado {restarts} vezes."),
    "unit_none": Words("Nem o Docker nem o systemd daqui conhecem um serviço do NeuroOne."),
    "unit_out_of_memory": Words(
        "{service} foi morto por falta de memória. O fim do log: {tail}",
        "Dê mais memória (mem_limit no compose.yaml, MemoryMax na unidade) e relate o caso: não deveria ser preciso.",
    ),
    "unit_failed": Words(
        "{service} terminou com o código {code} e não está rodando. O fim do log: {tail}",
        "Corrija o que o log diz e inicie-o. O código 2 indica uma configuração errada.",
    ),
    "unit_restarts": Words(
        "{service} foi reiniciado {restarts} vezes. O fim do log: {tail}",
        "Veja o log inteiro: docker compose logs, ou journalctl -u e o nome.",
    ),
    "memory_ok": Words("Há {free_mb} MB de memória livres."),
    "memory_unknown": Words("Este sistema não informa quanta memória está livre."),
    "memory_low": Words(
        "Só há {free_mb} MB de memória livres.", "Feche outros programas ou dê mais memória à máquina: 2 GB bastam."
    ),
    "values_ok": Words("{stream} envia valores com bom contato."),
    "values_none": Words("Ninguém envia leituras neste momento."),
    "stream_link": Words(
        "{stream} está sem headset ({link}). {hint}",
        "Ligue o headset, deixe-o a menos de 10 m e veja a bateria; veja também a porta acima.",
    ),
    "signal_off": Words(
        "Ninguém está usando o headset de {stream} (poor signal {poor_signal}).",
        "Ponha o eletrodo seco na pele da testa, sem cabelo, e o clipe no lóbulo da orelha.",
    ),
    "signal_poor": Words(
        "{stream} tem mau contato (poor signal {poor_signal}): atenção e meditação não mudam ou ficam em 0.",
        "Aperte o eletrodo contra a testa e o clipe no lóbulo, umedeça-os um pouco, tire a maquiagem; depois espere "
        "meio minuto. Troque a bateria fraca.",
    ),
    "values_zero": Words(
        "{stream} só envia zeros.",
        "Espere meio minuto depois de colocá-lo. Se continuar: desligue e ligue o headset, troque a bateria.",
    ),
    "broker_ok": Words("O broker em {address} nos deixa ler ({version})."),
    "broker_refused": Words(
        "Nenhum broker escuta em {address}.",
        "Inicie-o: docker compose up -d mosquitto, ou systemctl start neuroone-broker. Outro endereço: --broker.",
    ),
    "broker_timeout": Words(
        "O broker em {address} não responde.", "Verifique o endereço e os firewalls entre aqui e lá."
    ),
    "broker_name": Words("O nome do broker, {address}, não é conhecido aqui.", "Use o endereço dele com --broker."),
    "broker_tls": Words(
        "O certificado do broker em {address} não é aceito ({detail}).", "Indique a autoridade dele com --broker-ca."
    ),
    "broker_login": Words(
        "O broker em {address} recusa nosso login ({detail}).",
        "Indique o login: --broker file:/etc/neuroone/doctor.url, ou mqtt://usuario:senha@host. "
        "No Docker: docker compose run --rm doctor.",
    ),
    "broker_acl": Words(
        "O broker em {address} aceita nosso login, mas não o deixa ler os tópicos neuroone/v1.",
        "Use um login que possa ler e confira a lista de acesso do broker; `neuroone secrets` escreve os dois.",
    ),
    "broker_old": Words(
        "O broker em {address} é antigo demais ({version}).", "Instale o Mosquitto 2 ou use o do compose.yaml."
    ),
}

WORDS: Final[Mapping[str, Mapping[str, Words]]] = {"en": ENGLISH, "pt-BR": PORTUGUESE}
