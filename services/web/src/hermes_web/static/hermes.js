"use strict";
// Asks before what cannot be undone, ticks all boxes, sends only the head of a DICOM file, and keeps lists fresh.
// Every page works without this.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  const question = event.target.dataset.confirm || (button && button.dataset.confirm);
  if (!question) return;
  let what = "";
  if (button && button.dataset.ticks) {
    const ticked = event.target.querySelectorAll(`input[name="${button.dataset.ticks}"]:checked`).length;
    const which = event.target.querySelector("select[name=which]");
    const all = which && which.value === "all";
    if (!all && ticked === 0) {
      window.alert("Tick at least one delivery first.");
      event.preventDefault();
      return;
    }
    what = all ? which.selectedOptions[0].textContent : ticked === 1 ? "1 delivery" : `${ticked} deliveries`;
  }
  if (!window.confirm(question.replace("{n}", what))) event.preventDefault();
});
for (const box of document.querySelectorAll("input[data-all]")) {
  box.hidden = false;
  box.addEventListener("change", () => {
    for (const other of document.querySelectorAll(`input[name="${box.dataset.all}"]`)) other.checked = box.checked;
  });
}
for (const field of document.querySelectorAll("input[data-head]")) {
  field.addEventListener("change", () => {
    const size = Number(field.dataset.head);
    const file = field.files[0];
    if (!file || file.size <= size) return;
    const head = new DataTransfer();
    head.items.add(new File([file.slice(0, size)], file.name));
    field.files = head.files;
  });
}
const main = document.querySelector("main[data-refresh]");
if (main) {
  const fresh = async () => {
    if (document.hidden || main.contains(document.activeElement) && document.activeElement !== main) return;
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = page.querySelector(`[data-live="${part.dataset.live}"]`);
      if (next) part.replaceChildren(...next.childNodes);
    }
  };
  setInterval(() => fresh().catch(() => {}), Number(main.dataset.refresh) * 1000);
}
