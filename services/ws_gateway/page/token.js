/** The dashboard's token: from the address, which forgets it at once, or asked for; kept for as long as the tab lives. */

const KEPT = "neuroone.token";

/** Take `?token=` out of the address and keep it; the address bar, history and screenshots do not show it. */
export function takeToken() {
  const address = new URL(location.href);
  const given = address.searchParams.get("token");
  if (given === null) return;
  sessionStorage.setItem(KEPT, given);
  address.searchParams.delete("token");
  history.replaceState(history.state, "", address);
}

export function token() {
  return sessionStorage.getItem(KEPT) ?? undefined;
}

export function keepToken(given) {
  sessionStorage.setItem(KEPT, given);
}

/** Headers that show it. */
export function credentials() {
  return token() === undefined ? {} : { Authorization: `Bearer ${token()}` };
}

/** The WebSocket of the gateway that this page came from. */
export function gatewayUrl() {
  const url = new URL(".", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = url.hash = "";
  return url.href;
}
