// Sends only the head of a DICOM file: a rule is tried on its header, never on its pixels.
document.addEventListener("change", (event) => {
  const field = event.target;
  if (!field.matches?.("input[data-head]")) return;
  const size = Number(field.dataset.head);
  const file = field.files[0];
  if (!file || file.size <= size) return;
  const head = new DataTransfer();
  head.items.add(new File([file.slice(0, size)], file.name));
  field.files = head.files;
});
