// Asking a person before something is done that cannot be taken back, or that others will ask about. Owns the one dialog
// of it. Refuses `window.confirm`: that one cannot ask for a reason, and stops the page while it is open.

const byId = (id) => document.getElementById(id);
const FIELDS = ["amount", "hours", "reason"];

/**
 * What the person said, or null. `asks` names the fields that have to be filled in: amount, hours, reason.
 * Cancel, Esc and closing the dialog are all no.
 */
export function confirm({ title, text, yes, asks = [], danger = false }) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  byId("confirm-yes").classList.toggle("danger", danger);
  for (const name of FIELDS) {
    const field = byId(`confirm-${name}`);
    field.parentElement.hidden = !asks.includes(name);
    field.required = asks.includes(name);
    field.disabled = !asks.includes(name); // what is not shown must not hold the form back
    field.value = field.defaultValue;
  }
  dialog.returnValue = "";
  dialog.showModal();
  (asks.length ? byId(`confirm-${FIELDS.find((name) => asks.includes(name))}`) : dialog.querySelector("button[value=cancel]")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "yes") return resolve(null);
      return resolve(Object.fromEntries(asks.map((name) => [name, byId(`confirm-${name}`).value.trim()])));
    }, { once: true });
  });
}
