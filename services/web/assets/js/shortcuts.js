// Keys: Ctrl-K palette, / search, ? help, g and a letter for a page, j and k through rows. Never while one types.
import { openPalette } from "./palette.js";
import { nextTheme } from "./view.js";

const PLACES = { o: "/", f: "/flow", s: "/series", q: "/queues", d: "/deliveries", e: "/errors", r: "/rules", t: "/targets", a: "/audit" };
let after = "";

function typing(element) {
  return element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);
}

function step(by) {
  const rows = [...document.querySelectorAll("main table.cards tbody tr")].filter((row) => row.querySelector("a"));
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.max(0, Math.min(rows.length - 1, now + by))];
  (next?.querySelector(".lead a") ?? next?.querySelector("a"))?.focus();
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openPalette();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
  if (after === "g" && PLACES[event.key]) location.assign(PLACES[event.key]);
  else if (event.key === "/") {
    event.preventDefault();
    document.querySelector("main input[type=search], .find input")?.focus();
  } else if (event.key === "?") document.querySelector("#keys")?.showModal();
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "t" && after !== "g") nextTheme();
  after = event.key;
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest?.("[data-open]");
  if (!opener) return;
  if (opener.dataset.open === "palette") openPalette();
  else document.querySelector(opener.dataset.open)?.showModal();
});
