// Money as people read it. Owns the only ways between micro-USD, which are whole numbers everywhere, and dollars as text.

const MICRO = 1_000_000;
const grouping = new Intl.NumberFormat("en-GB");

/** "$12.50", "$0.002310"; "not known" for null. An unknown price is never $0. */
export function dollars(microUsd) {
  if (microUsd === null || microUsd === undefined) return "not known";
  const size = Math.abs(microUsd);
  const digits = size === 0 || size >= MICRO ? 2 : size < 10_000 ? 6 : 4;
  const [whole, part] = (microUsd / MICRO).toFixed(digits).split(".");
  return `$${grouping.format(Number(whole))}.${part}`;
}

/** Micro-USD of "12.5", without a binary fraction on the way; null where it is no amount. */
export function readDollars(text) {
  const [, whole, part = ""] = /^(\d{1,9})(?:\.(\d{1,6}))?$/.exec(text.trim()) ?? [];
  return whole === undefined ? null : Number(whole) * MICRO + Number(part.padEnd(6, "0"));
}
