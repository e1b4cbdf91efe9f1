"""The old server, as its documentation prints it, but for the port: the peer that the gateway is measured against.

``python bench/seed_server.py PORT`` serves and writes its CSV files into the working directory.
"""

import asyncio
import json
import pathlib
import sys

import websockets

conexoes = {}
dash_client = None
id_counter = 0


async def echo(websocket):
    global dash_client, id_counter
    try:
        while True:
            message = await websocket.recv()
            if message == "dash":
                dash_client = websocket
            else:
                if websocket not in conexoes:
                    id_counter += 1
                    conexoes[websocket] = id_counter
                data = json.loads(message)
                codigo = data.get("Codigo")
                nome = data.get("Nome")
                if nome:
                    filename = f"{nome}.csv"
                    header = "Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma"
                    data_line = ",".join(str(data.get(name, 0)) for name in header.split(","))
                    if not pathlib.Path(filename).exists():  # noqa: ASYNC240 (as it was)
                        with pathlib.Path(filename).open("w", encoding="utf-8") as f:  # noqa: ASYNC230
                            f.write(header + "\n")
                            f.write(data_line + "\n")
                    else:
                        with pathlib.Path(filename).open("a", encoding="utf-8") as f:  # noqa: ASYNC230
                            f.write(data_line + "\n")
                if dash_client:
                    await dash_client.send(
                        json.dumps(
                            {
                                "ID": conexoes[websocket],
                                "Nome": nome,
                                "Codigo": codigo,
                                "Att": data["Att"],
                                "Med": data["Med"],
                            }
                        )
                    )
    except websockets.exceptions.ConnectionClosedOK:
        conexoes.pop(websocket, None)
    except Exception as e:  # noqa: BLE001
        print(f"Erro: {e}")


async def main():
    async with websockets.serve(echo, "127.0.0.1", int(sys.argv[1]), backlog=1024):
        await asyncio.Future()


asyncio.run(main())
