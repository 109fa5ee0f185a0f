// Colours before the first paint: light, dark, or what the system says. Runs before everything else, and nothing else does.
"use strict";
{
  let chosen = null;
  try { chosen = localStorage.getItem("adriatic.theme"); } catch { /* storage is refused: the system decides */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
