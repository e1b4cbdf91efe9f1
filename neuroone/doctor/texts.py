"""The words of `neuroone doctor`: for each code what is the matter and, for a problem, what to do; in two languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LANGUAGES: Final = ("en", "pt-BR")


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence that says what is, and one that says what to do about it; ``{...}`` are a finding's facts."""

    says: str
    do: str = ""


HEADINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {"ok": "OK", "problem": "PROBLEM", "skipped": "--", "do": "What to do"},
    "pt-BR": {"ok": "OK", "problem": "PROBLEMA", "skipped": "--", "do": "O que fazer"},
}

ENGLISH: Final[Mapping[str, Words]] = {
    "port_ok": Words("{device} is there and may be opened."),
    "port_none": Words("No serial adapter is plugged into this computer."),
    "port_no_driver": Words(
        "The serial adapter {usb_id} is plugged in, but has no port: its driver {driver} is missing.",
        "sudo modprobe {driver}; if there is none: sudo apt install linux-modules-extra-$(uname -r). "
        "On Windows install the driver CH341SER from wch-ic.com. Then plug the adapter in again.",
    ),
    "port_brltty": Words(
        "The serial adapter {usb_id} is plugged in, but brltty, a program for Braille displays, takes its port.",
        "sudo apt remove brltty, then plug the adapter in again.",
    ),
    "port_missing": Words(
        "There is no port {device}.",
        "Plug the adapter in; `serial-bridge ports` lists the ports that exist. A Bluetooth headset must be paired.",
    ),
    "port_no_permission": Words(
        "You may not open {device}.", "sudo usermod -aG {group} $USER, then log out and in again."
    ),
    "port_taken": Words(
        "The program {program} has {device} open.",
        "ModemManager lets go after about ten seconds. Without a modem: sudo systemctl disable --now ModemManager. "
        "Of brltty: sudo apt remove brltty.",
    ),
    "ws_ok": Words("{url} takes WebSocket connections."),
    "ws_refused": Words(
        "Nothing listens at {url}.",
        "Start the gateway: docker compose up -d, or systemctl start neuroone-gateway, or neuroone up. "
        "If it runs, look which port it has.",
    ),
    "ws_timeout": Words(
        "{url} does not answer.",
        "A firewall drops what comes, or the address is another machine's: see the firewall below, and the server's "
        "address with `hostname -I`.",
    ),
    "ws_name": Words("The name in {url} is not known here.", "Use the server's address, or mend its name in the DNS."),
    "ws_tls": Words(
        "The certificate of {url} is not trusted here ({detail}).",
        "Of the proxy's own authority, install the root certificate on each device; a public domain must point to this "
        "server, with ports 80 and 443 open.",
    ),
    "ws_proxy": Words(
        "A proxy answers at {url}, but no gateway behind it (HTTP {status}).",
        "Start the gateway and look at its log: docker compose logs ws_gateway, or journalctl -u neuroone-gateway.",
    ),
    "ws_too_many": Words(
        "The gateway refuses more connections from this address (HTTP 429).",
        "Something connects again and again. Behind a proxy the gateway must know it: NEUROONE_TRUSTED_PROXIES.",
    ),
    "ws_no_upgrade": Words(
        "What answers at {url} speaks no WebSocket (HTTP {status}).",
        "Another program has this port, or the proxy does not pass the headers Upgrade and Connection: see "
        "deploy/nginx/neuroone.conf.",
    ),
    "ws_no_broker": Words(
        "The gateway at {url} has lost its broker.", "See the broker below. The gateway keeps readings meanwhile."
    ),
    "network_ok": Words("Port {port} works on {address} too, which others use."),
    "network_skipped": Words("There is no other address to try."),
    "network_closed": Words(
        "Port {port} works on this machine, but not on {address}, which others use.",
        "The gateway listens on this machine only (--host 0.0.0.0 for all), or a firewall closes the port.",
    ),
    "firewall_ok": Words("{firewall} lets port {port} in."),
    "firewall_none": Words("No firewall of this machine is in the way."),
    "firewall_unknown": Words("{firewall} is on; its rules can be read by root only (sudo)."),
    "firewall_closed": Words(
        "{firewall} is on and does not let port {port} in.",
        "sudo ufw allow {port}/tcp; with firewalld: sudo firewall-cmd --permanent --add-port={port}/tcp && "
        "sudo firewall-cmd --reload.",
    ),
    "csv_ok": Words("{dir} can be written; {free_mb} MB are free."),
    "csv_elsewhere": Words("The recordings are not in this directory; --data names theirs."),
    "csv_no_dir": Words("The directory {dir} is not there.", "Make it, or name the right one with --data."),
    "csv_no_permission": Words(
        "{dir} cannot be written by this user.",
        "sudo chown -R to the recorder's user (neuroone-recorder; 10001 under Docker); run this check as that user.",
    ),
    "csv_no_space": Words(
        "Only {free_mb} MB are free in {dir}.",
        "Make room: move old recordings elsewhere. The recorder acknowledges nothing while the disk is full, and the "
        "broker keeps the readings until there is room.",
    ),
    "service_ok": Words("{service} is online ({instances})."),
    "service_offline": Words(
        "{service} was here and is offline.",
        "Start it: docker compose up -d, or systemctl start neuroone-* (neuroone-gateway, neuroone-recorder).",
    ),
    "service_never": Words(
        "{service} was never seen on this broker.",
        "Start it, with the same --broker and --site as the others.",
    ),
    "recorder_ok": Words("{service} says that its disk works."),
    "recorder_disk": Words(
        "{service} cannot write to its disk.",
        "Look at its log for the reason, most often a full disk or the owner of the directory. Nothing is lost yet: "
        "the broker keeps the readings.",
    ),
    "clock_ok": Words("The clocks agree within {seconds} s."),
    "clock_unknown": Words("No service said what time it has."),
    "clock_skew": Words(
        "The clock of {service} is {seconds} s off this computer's.",
        "Set both by the network: sudo timedatectl set-ntp true; on Windows: Settings, Time, Synchronize now.",
    ),
    "unit_ok": Words("{service} runs, restarted {restarts} times."),
    "unit_none": Words("Neither Docker nor systemd here knows a service of NeuroOne."),
    "unit_out_of_memory": Words(
        "{service} was killed because it had no memory left. The end of its log: {tail}",
        "Give it more (mem_limit in compose.yaml, MemoryMax in its unit), and report it: it should not need it.",
    ),
    "unit_failed": Words(
        "{service} ended with code {code} and does not run. The end of its log: {tail}",
        "Mend what the log says, then start it. Code 2 is a wrong setting.",
    ),
    "unit_restarts": Words(
        "{service} was started again {restarts} times. The end of its log: {tail}",
        "Look at its whole log: docker compose logs, or journalctl -u and the name.",
    ),
    "memory_ok": Words("{free_mb} MB of memory are free."),
    "memory_unknown": Words("This system does not say how much memory is free."),
    "memory_low": Words(
        "Only {free_mb} MB of memory are free.", "Close other programs, or give the machine more: 2 GB are enough."
    ),
    "values_ok": Words("{stream} sends values with good contact."),
    "values_none": Words("Nobody sends readings at this moment."),
    "stream_link": Words(
        "{stream} has no headset ({link}). {hint}",
        "Switch the headset on, keep it within 10 m, look at its battery; see also the port above.",
    ),
    "signal_off": Words(
        "{stream} is not on a head (poor signal {poor_signal}).",
        "Put the dry electrode on the skin of the forehead, without hair, and the clip on the ear lobe.",
    ),
    "signal_poor": Words(
        "{stream} has poor contact (poor signal {poor_signal}): attention and meditation stand still or are 0.",
        "Press the electrode to the forehead and the clip to the ear lobe, moisten both a little, wipe off make-up; "
        "then wait half a minute. Change a weak battery.",
    ),
    "values_zero": Words(
        "{stream} sends nothing but zeros.",
        "Wait half a minute after putting it on. If it stays: switch the headset off and on, change its battery.",
    ),
    "broker_ok": Words("The broker at {address} lets us read ({version})."),
    "broker_refused": Words(
        "No broker listens at {address}.",
        "Start it: docker compose up -d mosquitto, or systemctl start neuroone-broker. Another address: --broker.",
    ),
    "broker_timeout": Words(
        "The broker at {address} does not answer.", "Look at the address and at the firewalls between here and there."
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
        "The broker at {address} lets us in, but not read the topics neuroone/v1.",
        "Use a login that may read, and look at the broker's access list; `neuroone secrets` writes both.",
    ),
    "broker_old": Words(
        "The broker at {address} is too old ({version}).", "Install Mosquitto 2, or let Docker bring it."
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
        "O adaptador serial {usb_id} está ligado, mas o brltty, um programa para linhas Braille, toma a porta.",
        "sudo apt remove brltty e ligue o adaptador de novo.",
    ),
    "port_missing": Words(
        "A porta {device} não existe.",
        "Ligue o adaptador; `serial-bridge ports` lista as que existem. Um headset Bluetooth precisa estar pareado.",
    ),
    "port_no_permission": Words(
        "Você não pode abrir {device}.", "sudo usermod -aG {group} $USER; depois, saia da sessão e entre de novo."
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
        "Um firewall descarta o que chega, ou o endereço é de outra máquina: veja o firewall abaixo e o endereço do "
        "servidor com `hostname -I`.",
    ),
    "ws_name": Words("O nome em {url} não é conhecido aqui.", "Use o endereço do servidor ou corrija o nome no DNS."),
    "ws_tls": Words(
        "O certificado de {url} não é aceito aqui ({detail}).",
        "Se for da autoridade do próprio proxy, instale o certificado raiz em cada aparelho; um domínio público "
        "precisa apontar para este servidor, com as portas 80 e 443 abertas.",
    ),
    "ws_proxy": Words(
        "Um proxy responde em {url}, mas sem gateway por trás (HTTP {status}).",
        "Inicie o gateway e veja o log: docker compose logs ws_gateway, ou journalctl -u neuroone-gateway.",
    ),
    "ws_too_many": Words(
        "O gateway recusa mais conexões deste endereço (HTTP 429).",
        "Algo se conecta sem parar. Atrás de um proxy, o gateway precisa conhecê-lo: NEUROONE_TRUSTED_PROXIES.",
    ),
    "ws_no_upgrade": Words(
        "O que responde em {url} não fala WebSocket (HTTP {status}).",
        "Outro programa está com esta porta, ou o proxy não repassa os cabeçalhos Upgrade e Connection: veja "
        "deploy/nginx/neuroone.conf.",
    ),
    "ws_no_broker": Words(
        "O gateway em {url} perdeu o broker.", "Veja o broker abaixo. Enquanto isso, o gateway guarda as leituras."
    ),
    "network_ok": Words("A porta {port} também funciona em {address}, que os outros usam."),
    "network_skipped": Words("Não há outro endereço para testar."),
    "network_closed": Words(
        "A porta {port} funciona nesta máquina, mas não em {address}, que os outros usam.",
        "O gateway escuta só nesta máquina (--host 0.0.0.0 para todas), ou um firewall fecha a porta.",
    ),
    "firewall_ok": Words("O {firewall} deixa a porta {port} entrar."),
    "firewall_none": Words("Nenhum firewall desta máquina atrapalha."),
    "firewall_unknown": Words("O {firewall} está ligado; só o root pode ler as regras (sudo)."),
    "firewall_closed": Words(
        "O {firewall} está ligado e não deixa a porta {port} entrar.",
        "sudo ufw allow {port}/tcp; com firewalld: sudo firewall-cmd --permanent --add-port={port}/tcp && "
        "sudo firewall-cmd --reload.",
    ),
    "csv_ok": Words("É possível gravar em {dir}; há {free_mb} MB livres."),
    "csv_elsewhere": Words("As gravações não estão neste diretório; --data indica o delas."),
    "csv_no_dir": Words("O diretório {dir} não existe.", "Crie-o ou indique o certo com --data."),
    "csv_no_permission": Words(
        "Este usuário não pode gravar em {dir}.",
        "sudo chown -R para o usuário do gravador (neuroone-recorder; 10001 no Docker); rode esta checagem com ele.",
    ),
    "csv_no_space": Words(
        "Só há {free_mb} MB livres em {dir}.",
        "Libere espaço: leve gravações antigas para outro lugar. Com o disco cheio o gravador não confirma nada, e o "
        "broker guarda as leituras até haver espaço.",
    ),
    "service_ok": Words("{service} está online ({instances})."),
    "service_offline": Words(
        "{service} esteve aqui e está offline.",
        "Inicie-o: docker compose up -d, ou systemctl start neuroone-* (neuroone-gateway, neuroone-recorder).",
    ),
    "service_never": Words(
        "{service} nunca foi visto neste broker.",
        "Inicie-o com o mesmo --broker e --site dos outros.",
    ),
    "recorder_ok": Words("{service} diz que seu disco funciona."),
    "recorder_disk": Words(
        "{service} não consegue gravar no disco.",
        "Veja o motivo no log, quase sempre disco cheio ou o dono do diretório. Nada se perdeu ainda: o broker guarda "
        "as leituras.",
    ),
    "clock_ok": Words("Os relógios concordam dentro de {seconds} s."),
    "clock_unknown": Words("Nenhum serviço disse que horas tem."),
    "clock_skew": Words(
        "O relógio de {service} difere {seconds} s do deste computador.",
        "Acerte os dois pela rede: sudo timedatectl set-ntp true; no Windows: Configurações, Hora, Sincronizar agora.",
    ),
    "unit_ok": Words("{service} está rodando, reiniciado {restarts} vezes."),
    "unit_none": Words("Nem o Docker nem o systemd daqui conhecem um serviço do NeuroOne."),
    "unit_out_of_memory": Words(
        "{service} foi morto por falta de memória. O fim do log: {tail}",
        "Dê mais memória (mem_limit no compose.yaml, MemoryMax na unidade) e relate: não deveria precisar.",
    ),
    "unit_failed": Words(
        "{service} terminou com o código {code} e não está rodando. O fim do log: {tail}",
        "Corrija o que o log diz e inicie-o. O código 2 é uma configuração errada.",
    ),
    "unit_restarts": Words(
        "{service} foi reiniciado {restarts} vezes. O fim do log: {tail}",
        "Veja o log inteiro: docker compose logs, ou journalctl -u e o nome.",
    ),
    "memory_ok": Words("Há {free_mb} MB de memória livres."),
    "memory_unknown": Words("Este sistema não diz quanta memória está livre."),
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
        "{stream} não está em uma cabeça (poor signal {poor_signal}).",
        "Ponha o eletrodo seco na pele da testa, sem cabelo, e o clipe no lóbulo da orelha.",
    ),
    "signal_poor": Words(
        "{stream} tem mau contato (poor signal {poor_signal}): atenção e meditação ficam paradas ou em 0.",
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
        "O broker em {address} nos deixa entrar, mas não ler os tópicos neuroone/v1.",
        "Use um login que possa ler e veja a lista de acesso do broker; `neuroone secrets` escreve os dois.",
    ),
    "broker_old": Words(
        "O broker em {address} é velho demais ({version}).", "Instale o Mosquitto 2 ou deixe o Docker trazê-lo."
    ),
}

WORDS: Final[Mapping[str, Mapping[str, Words]]] = {"en": ENGLISH, "pt-BR": PORTUGUESE}
