// Ticks all boxes of a list, and filters the rows of a table as one types.
document.addEventListener("change", (event) => {
  const box = event.target;
  if (!box.matches?.("input[data-all]")) return;
  for (const other of document.querySelectorAll(`input[name="${box.dataset.all}"]:not(:disabled)`)) other.checked = box.checked;
});
for (const box of document.querySelectorAll("input[data-all]")) box.hidden = false;

document.addEventListener("input", (event) => {
  const field = event.target;
  if (!field.matches?.("input[data-filter]")) return;
  const words = field.value.trim().toLowerCase();
  let shown = 0;
  const rows = document.querySelectorAll(`${field.dataset.filter} tbody tr`);
  for (const row of rows) {
    row.hidden = words !== "" && !row.textContent.toLowerCase().includes(words);
    if (!row.hidden) shown += 1;
  }
  const said = document.querySelector(field.dataset.said);
  if (said) said.textContent = words ? `${shown} of ${rows.length}` : "";
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent.trim());
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = before), 1500);
});
for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = !navigator.clipboard;
