// How the page looks to this person: theme, times, patients' names. Kept in a cookie that the server reads.
import { showTimes } from "./times.js";

const NAMES = ["theme", "times", "names"];
const root = document.documentElement;

function chosen() {
  return Object.fromEntries(NAMES.map((name) => [name, document.querySelector(`#view input[name=${name}]:checked`)?.value ?? { theme: "system", times: "utc", names: "shown" }[name]]));
}

function keep(view) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `hermes-view=${NAMES.map((name) => view[name]).join(".")}; Path=/; Max-Age=31536000; SameSite=Strict${secure}`;
}

function applyTheme(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme === "dark" ? "hermes-dark" : "hermes";
}

export function nextTheme() {
  const boxes = [...document.querySelectorAll("#view input[name=theme]")];
  if (boxes.length === 0) return;
  const next = boxes[(boxes.findIndex((box) => box.checked) + 1) % boxes.length];
  next.checked = true;
  keep(chosen());
  applyTheme(next.value);
}

document.addEventListener("change", (event) => {
  if (!event.target.matches?.("#view input")) return;
  const view = chosen();
  keep(view);
  applyTheme(view.theme);
  root.dataset.times = view.times;
  if (event.target.name === "names") location.reload();
  else showTimes();
});
