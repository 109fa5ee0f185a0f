// Asking /v1. Owns how a request is made and how a refusal is read. Every failure is a `Refusal` with a sentence for
// people in `message`, and a `code` for programs.

import { authorization } from "./session.js";

export class Refusal extends Error {
  constructor(status, code, detail, hint = "", retryAfterS = null) {
    super(detail);
    Object.assign(this, { status, code, hint, retryAfterS });
  }
}

/** What a response that is no success says. It may come from a proxy that speaks HTML. */
export function refusal(status, text, headers) {
  let problem = {};
  try { problem = JSON.parse(text) ?? {}; } catch { /* no problem document */ }
  const after = Number(headers?.get("retry-after"));
  return new Refusal(status, problem.code ?? "unexpected", problem.detail ?? `the server answered ${status}`,
    problem.hint ?? "", Number.isFinite(after) && after > 0 ? after : null);
}

/** JSON, but for a form with a file: its type and the boundary in it are the browser's to say. */
function encode(body) {
  if (body === undefined || body instanceof FormData) return { body, type: {} };
  return { body: JSON.stringify(body), type: { "content-type": "application/json" } };
}

/** The response, once its status is a success. Raises `Refusal`, or `AbortError` when `signal` says so. */
export async function open(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = encode(body);
  let response;
  try {
    response = await fetch(path, {
      method, signal, body: sent.body,
      headers: { authorization: authorization(), accept: "application/json", ...sent.type, ...headers },
      cache: "no-store", credentials: "omit", mode: "same-origin", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "unreachable", "the server cannot be reached", "it is tried again");
  }
  if (response.ok) return response;
  throw refusal(response.status, await response.text().catch(() => ""), response.headers);
}

export async function ask(path, options) {
  return (await open(path, options)).json();
}
