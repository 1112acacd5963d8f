// Fetches a page again and puts parts of it in place of ours, keeping focus, opened details and ticked boxes.
// What it calls #state, such as the badge beside its heading, goes along with whatever part is asked for.
import htmx from "htmx.org/dist/htmx.esm.js";

htmx.config.history = false;

export async function refresh(selector, address = location.href) {
  await htmx.ajax("GET", address, { target: selector, select: selector, swap: "outerMorph", selectOOB: "#state:outerMorph" });
}

export function afterSwap(work) {
  document.addEventListener("htmx:after:swap", work);
}
