// Times come from the server in UTC; shows them in the browser's zone or as "3 min ago" if that is what was chosen.
import { afterSwap } from "./swap.js";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

function ago(date) {
  const seconds = Math.round((Date.now() - date) / 1000);
  const size = Math.abs(seconds);
  const at = Math.max(UNITS.findIndex(([, length]) => size >= length), 0);
  const [unit, length] = size < 1 ? ["s", 1] : UNITS[at];
  const text = `${Math.floor(size / length)} ${unit}`;
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

function local(date) {
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function showTimes() {
  const mode = document.documentElement.dataset.times || "utc";
  for (const element of document.querySelectorAll("time[datetime]")) {
    element.dataset.utc ??= element.textContent;
    const date = new Date(element.getAttribute("datetime"));
    if (mode === "utc" || Number.isNaN(date.getTime())) element.textContent = element.dataset.utc;
    else element.textContent = mode === "local" ? local(date) : ago(date);
  }
  const zone = { utc: "UTC", local: "local", relative: "ago" }[mode];
  for (const head of document.querySelectorAll("th, [data-zone]")) {
    head.textContent = head.textContent.replace(/\((UTC|local|ago)\)$/, `(${zone})`);
  }
}

showTimes();
afterSwap(showTimes);
setInterval(() => document.documentElement.dataset.times === "relative" && !document.hidden && showTimes(), 10000);
