/** The dashboard's token: from the address, which forgets it at once, or asked for; kept for as long as the tab lives. */

const KEPT = "neuroone.token";

/**
 * Take the token out of the address and keep it; the address bar, history and screenshots do not show it.
 * Behind `#` the browser sends it to nobody; `?token=` works too.
 */
export function takeToken() {
  const address = new URL(location.href);
  const behind = new URLSearchParams(address.hash.slice(1));
  const given = behind.get("token") ?? address.searchParams.get("token");
  if (given === null) return false;
  sessionStorage.setItem(KEPT, given);
  address.searchParams.delete("token");
  if (behind.has("token")) address.hash = "";
  history.replaceState(history.state, "", address);
  return true;
}

// Another token, typed or pasted behind the address of the page that is open, loads no page.
addEventListener("hashchange", () => {
  if (takeToken()) location.reload();
});

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
