<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="pt_BR">
<context>
    <name>BrokerBox</name>
    <message>
        <source>Broker</source>
        <translation>Broker</translation>
    </message>
    <message>
        <source>&amp;Address:</source>
        <translation>&amp;Endereço:</translation>
    </message>
    <message>
        <source>&amp;User:</source>
        <translation>Usuári&amp;o:</translation>
    </message>
    <message>
        <source>Pass&amp;word:</source>
        <translation>Senh&amp;a:</translation>
    </message>
    <message>
        <source>&amp;Connect</source>
        <translation>&amp;Conectar</translation>
    </message>
    <message>
        <source>The address must be like mqtt://host:1883, or mqtts://host:8883 for TLS.</source>
        <translation>O endereço deve ser como mqtt://host:1883, ou mqtts://host:8883 para TLS.</translation>
    </message>
</context>
<context>
    <name>HeadsetBox</name>
    <message>
        <source>Simulated headset</source>
        <translation>Headset simulado</translation>
    </message>
    <message>
        <source>S&amp;top the bridge</source>
        <translation>Pa&amp;rar a ponte</translation>
    </message>
    <message>
        <source>&amp;Start a bridge on it</source>
        <translation>&amp;Iniciar uma ponte nela</translation>
    </message>
    <message>
        <source>serial-bridge runs on {0}. {1}</source>
        <translation>serial-bridge em execução em {0}. {1}</translation>
    </message>
    <message>
        <source>No bridge was started from here.</source>
        <translation>Nenhuma ponte foi iniciada por aqui.</translation>
    </message>
    <message>
        <source>serial-bridge has ended.</source>
        <translation>O serial-bridge terminou.</translation>
    </message>
    <message>
        <source>serial-bridge failed: {0}</source>
        <translation>O serial-bridge falhou: {0}</translation>
    </message>
    <message>
        <source>Headset on this computer</source>
        <translation>Headset neste computador</translation>
    </message>
    <message>
        <source>&amp;Port:</source>
        <translation>&amp;Porta:</translation>
    </message>
    <message>
        <source>&amp;Name:</source>
        <translation>&amp;Nome:</translation>
    </message>
    <message>
        <source>Class co&amp;de:</source>
        <translation>Có&amp;digo da turma:</translation>
    </message>
    <message>
        <source>with a name it is recorded; may be empty</source>
        <translation>com um nome é gravado; pode ficar vazio</translation>
    </message>
    <message>
        <source>may be empty</source>
        <translation>pode ficar vazio</translation>
    </message>
    <message>
        <source>&amp;Refresh</source>
        <translation>Atua&amp;lizar</translation>
    </message>
    <message>
        <source>Capture &amp;file...</source>
        <translation>Arqui&amp;vo de captura...</translation>
    </message>
    <message>
        <source>A capture of a headset</source>
        <translation>Uma captura de um headset</translation>
    </message>
</context>
<context>
    <name>MonitorWindow</name>
    <message>
        <source>Marker</source>
        <translation>Marcador</translation>
    </message>
    <message>
        <source>Note (may be empty):</source>
        <translation>Anotação (pode ficar vazia):</translation>
    </message>
    <message>
        <source>Mark</source>
        <translation>Marcar</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>Cancelar</translation>
    </message>
    <message>
        <source>Marked.</source>
        <translation>Marcado.</translation>
    </message>
    <message>
        <source>The marker could not be sent.</source>
        <translation>Não foi possível enviar o marcador.</translation>
    </message>
    <message>
        <source>Picture (*.png);;Drawing (*.svg)</source>
        <translation>Imagem (*.png);;Desenho (*.svg)</translation>
    </message>
    <message>
        <source>Save a picture</source>
        <translation>Salvar uma imagem</translation>
    </message>
    <message>
        <source>Saved {0}.</source>
        <translation>{0} foi salvo.</translation>
    </message>
    <message>
        <source>Cannot write {0}.</source>
        <translation>Não é possível gravar {0}.</translation>
    </message>
    <message>
        <source>Table (*.csv)</source>
        <translation>Tabela (*.csv)</translation>
    </message>
    <message>
        <source>Save a table</source>
        <translation>Salvar uma tabela</translation>
    </message>
    <message>
        <source>NeuroOne monitor</source>
        <translation>Monitor NeuroOne</translation>
    </message>
    <message>
        <source>Experimental indicator, not a diagnosis.</source>
        <translation>Indicador experimental, não é um diagnóstico.</translation>
    </message>
    <message>
        <source>serial-bridge cannot be started: is it installed, and a broker chosen?</source>
        <translation>Não é possível iniciar o serial-bridge: ele está instalado e há um broker escolhido?</translation>
    </message>
    <message>
        <source>Another program has taken this monitor&apos;s place at the broker: choose Connect again.</source>
        <translation>Outro programa tomou o lugar deste monitor no broker: escolha Conectar de novo.</translation>
    </message>
    <message>
        <source>Connected to {0}</source>
        <translation>Conectado a {0}</translation>
    </message>
    <message>
        <source>No answer from a broker at {0}; trying again until it is there</source>
        <translation>Sem resposta de um broker em {0}; tentando de novo até ele aparecer</translation>
    </message>
    <message>
        <source>No broker chosen yet</source>
        <translation>Nenhum broker escolhido ainda</translation>
    </message>
</context>
<context>
    <name>PlotsPage</name>
    <message>
        <source>Connected. No stream is live yet: start a headset (F6), or a student&apos;s app.</source>
        <translation>Conectado. Ainda não há fluxo ativo: ligue um headset (F6) ou o app de um aluno.</translation>
    </message>
    <message>
        <source>Not connected to a broker (F6).</source>
        <translation>Sem conexão com um broker (F6).</translation>
    </message>
    <message>
        <source>Paused, {0} s behind</source>
        <translation>Em pausa, {0} s atrás</translation>
    </message>
    <message>
        <source>Scroll back</source>
        <translation>Voltar no tempo</translation>
    </message>
</context>
<context>
    <name>ShortcutsPage</name>
    <message>
        <source>Keyboard shortcuts</source>
        <translation>Atalhos de teclado</translation>
    </message>
    <message>
        <source>Tab and Shift+Tab go from control to control, Space switches a line on and off, Alt opens the menus. While the plots are paused, the arrow keys move the slider that scrolls back.</source>
        <translation>Tab e Shift+Tab vão de controle em controle, Espaço liga e desliga uma linha, Alt abre os menus. Com os gráficos em pausa, as setas movem o controle que volta no tempo.</translation>
    </message>
    <message>
        <source>Back to the &amp;plots</source>
        <translation>Voltar aos &amp;gráficos</translation>
    </message>
</context>
<context>
    <name>StreamBar</name>
    <message>
        <source>nothing</source>
        <translation>nada</translation>
    </message>
    <message>
        <source>Stream:</source>
        <translation>Fluxo:</translation>
    </message>
    <message>
        <source>Compare with:</source>
        <translation>Comparar com:</translation>
    </message>
    <message>
        <source>Window:</source>
        <translation>Janela:</translation>
    </message>
    <message>
        <source>{0} s</source>
        <translation>{0} s</translation>
    </message>
</context>
<context>
    <name>StreamPanel</name>
    <message>
        <source>● Recording, {0} rows</source>
        <translation>● Gravando, {0} linhas</translation>
    </message>
    <message>
        <source>○ Not recorded</source>
        <translation>○ Sem gravação</translation>
    </message>
    <message>
        <source>log10 (a.u.)</source>
        <translation>log10 (u.a.)</translation>
    </message>
    <message>
        <source>% of bands</source>
        <translation>% das bandas</translation>
    </message>
    <message>
        <source>last reading {0} s ago</source>
        <translation>última leitura há {0} s</translation>
    </message>
    <message>
        <source>{0} readings</source>
        <translation>{0} leituras</translation>
    </message>
    <message>
        <source>{0} lost</source>
        <translation>{0} perdidas</translation>
    </message>
    <message>
        <source>{0} frames</source>
        <translation>{0} quadros</translation>
    </message>
    <message>
        <source>{0} checksum failures</source>
        <translation>{0} erros de checksum</translation>
    </message>
    <message>
        <source>{0} raw samples lost</source>
        <translation>{0} amostras brutas perdidas</translation>
    </message>
</context>
<context>
    <name>StreamsBox</name>
    <message>
        <source>headset</source>
        <translation>headset</translation>
    </message>
    <message>
        <source>student&apos;s app</source>
        <translation>app do aluno</translation>
    </message>
    <message>
        <source>Streams are listed as soon as a broker is connected.</source>
        <translation>Os fluxos aparecem assim que um broker estiver conectado.</translation>
    </message>
    <message>
        <source>No stream yet: start a headset, or a student&apos;s app.</source>
        <translation>Ainda não há fluxo: ligue um headset ou o app de um aluno.</translation>
    </message>
    <message>
        <source>Choose one stream to show, or two to compare.</source>
        <translation>Escolha um fluxo para mostrar ou dois para comparar.</translation>
    </message>
    <message>
        <source>Streams</source>
        <translation>Fluxos</translation>
    </message>
    <message>
        <source>Stream</source>
        <translation>Fluxo</translation>
    </message>
    <message>
        <source>Name</source>
        <translation>Nome</translation>
    </message>
    <message>
        <source>Link</source>
        <translation>Ligação</translation>
    </message>
    <message>
        <source>Status</source>
        <translation>Estado</translation>
    </message>
    <message>
        <source>Sh&amp;ow</source>
        <translation>Mo&amp;strar</translation>
    </message>
</context>
<context>
    <name>WindowActions</name>
    <message>
        <source>&amp;Plots</source>
        <translation>&amp;Gráficos</translation>
    </message>
    <message>
        <source>&amp;Connection</source>
        <translation>&amp;Conexão</translation>
    </message>
    <message>
        <source>&amp;Shortcuts</source>
        <translation>&amp;Atalhos</translation>
    </message>
    <message>
        <source>&amp;Pause</source>
        <translation>&amp;Pausa</translation>
    </message>
    <message>
        <source>Scroll &amp;back</source>
        <translation>&amp;Voltar no tempo</translation>
    </message>
    <message>
        <source>Scroll &amp;forth</source>
        <translation>A&amp;vançar no tempo</translation>
    </message>
    <message>
        <source>&amp;Marker...</source>
        <translation>&amp;Marcador...</translation>
    </message>
    <message>
        <source>&amp;Automatic scale</source>
        <translation>&amp;Escala automática</translation>
    </message>
    <message>
        <source>&amp;Relative bars (%)</source>
        <translation>&amp;Barras relativas (%)</translation>
    </message>
    <message>
        <source>Save a p&amp;icture...</source>
        <translation>Salvar uma &amp;imagem...</translation>
    </message>
    <message>
        <source>Save a &amp;table (CSV)...</source>
        <translation>Salvar uma &amp;tabela (CSV)...</translation>
    </message>
    <message>
        <source>&amp;Quit</source>
        <translation>&amp;Sair</translation>
    </message>
    <message>
        <source>As the &amp;system</source>
        <translation>Como o &amp;sistema</translation>
    </message>
    <message>
        <source>&amp;Light</source>
        <translation>&amp;Claro</translation>
    </message>
    <message>
        <source>&amp;Dark</source>
        <translation>&amp;Escuro</translation>
    </message>
    <message>
        <source>&amp;Monitor</source>
        <translation>&amp;Monitor</translation>
    </message>
    <message>
        <source>&amp;View</source>
        <translation>E&amp;xibir</translation>
    </message>
    <message>
        <source>&amp;Theme</source>
        <translation>&amp;Tema</translation>
    </message>
    <message>
        <source>&amp;Language</source>
        <translation>&amp;Idioma</translation>
    </message>
    <message>
        <source>&amp;Help</source>
        <translation>Aj&amp;uda</translation>
    </message>
</context>
<context>
    <name>plots</name>
    <message>
        <source>log10 (a.u.)</source>
        <translation>log10 (u.a.)</translation>
    </message>
    <message>
        <source>eSense</source>
        <translation>eSense</translation>
    </message>
    <message>
        <source>time (s)</source>
        <translation>tempo (s)</translation>
    </message>
    <message>
        <source>raw (counts)</source>
        <translation>bruto (contagens)</translation>
    </message>
</context>
<context>
    <name>texts</name>
    <message>
        <source>Delta</source>
        <translation>Delta</translation>
    </message>
    <message>
        <source>Theta</source>
        <translation>Teta</translation>
    </message>
    <message>
        <source>Low alpha</source>
        <translation>Alfa baixo</translation>
    </message>
    <message>
        <source>High alpha</source>
        <translation>Alfa alto</translation>
    </message>
    <message>
        <source>Low beta</source>
        <translation>Beta baixo</translation>
    </message>
    <message>
        <source>High beta</source>
        <translation>Beta alto</translation>
    </message>
    <message>
        <source>Low gamma</source>
        <translation>Gama baixo</translation>
    </message>
    <message>
        <source>Mid gamma</source>
        <translation>Gama médio</translation>
    </message>
    <message>
        <source>Attention</source>
        <translation>Atenção</translation>
    </message>
    <message>
        <source>Meditation</source>
        <translation>Meditação</translation>
    </message>
    <message>
        <source>Raw trace</source>
        <translation>Sinal bruto</translation>
    </message>
    <message>
        <source>Signal not reported</source>
        <translation>Sinal não informado</translation>
    </message>
    <message>
        <source>Good signal</source>
        <translation>Sinal bom</translation>
    </message>
    <message>
        <source>Adjusting</source>
        <translation>Ajustando</translation>
    </message>
    <message>
        <source>Poor signal</source>
        <translation>Sinal ruim</translation>
    </message>
    <message>
        <source>Off the skin</source>
        <translation>Sem contato</translation>
    </message>
    <message>
        <source>online</source>
        <translation>ativo</translation>
    </message>
    <message>
        <source>stale</source>
        <translation>parado</translation>
    </message>
    <message>
        <source>offline</source>
        <translation>desconectado</translation>
    </message>
    <message>
        <source>connected</source>
        <translation>conectado</translation>
    </message>
    <message>
        <source>searching for a port</source>
        <translation>procurando uma porta</translation>
    </message>
    <message>
        <source>no port found</source>
        <translation>nenhuma porta encontrada</translation>
    </message>
    <message>
        <source>no permission for the port</source>
        <translation>sem permissão para a porta</translation>
    </message>
    <message>
        <source>another program uses the port</source>
        <translation>outro programa usa a porta</translation>
    </message>
    <message>
        <source>unplugged</source>
        <translation>desplugado</translation>
    </message>
    <message>
        <source>the port is silent</source>
        <translation>a porta está em silêncio</translation>
    </message>
    <message>
        <source>no headset speaks on the port</source>
        <translation>nenhum headset fala na porta</translation>
    </message>
    <message>
        <source>dongle in standby</source>
        <translation>dongle em espera</translation>
    </message>
    <message>
        <source>dongle looks for a headset</source>
        <translation>dongle procura um headset</translation>
    </message>
    <message>
        <source>dongle found no headset</source>
        <translation>dongle não encontrou headset</translation>
    </message>
    <message>
        <source>ended</source>
        <translation>terminou</translation>
    </message>
</context>
</TS>
