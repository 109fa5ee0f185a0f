// Who is asking. Owns the token: it comes in the fragment of the address or from the form, and lives in this tab's
// session storage. Refuses cookies: what a browser sends by itself, another site can make it send.

const KEY = "adriatic.token";
const TOKEN = /^(?:[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|adr_[0-9a-f]{32}\.[0-9a-z]+_[0-9a-f]{64})$/;

let token = null;

/** Take the token out of `#token=…`, before anything is asked, and out of the address and its history entry. */
export function adopt() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (location.hash.startsWith("#token=")) history.replaceState(history.state, "", location.pathname + location.search);
  if (given && TOKEN.test(given)) keep(given);
  else {
    try { token = sessionStorage.getItem(KEY); } catch { token = null; }
  }
  return token !== null;
}

/** True when it has the form of a token or an API key; whether it is good the API says. */
export function keep(given) {
  if (!TOKEN.test(given)) return false;
  token = given;
  try { sessionStorage.setItem(KEY, given); } catch { /* it lasts until the page is left */ }
  return true;
}

export function forget() {
  token = null;
  try { sessionStorage.removeItem(KEY); } catch { /* nothing was kept */ }
}

export const present = () => token !== null;

export const authorization = () => `Bearer ${token}`;
