// Asks before what cannot be undone, in a dialog of the page, and shows that a form is on its way.
function ticked(form, button) {
  const boxes = form.querySelectorAll(`input[name="${button.dataset.ticks}"]:checked`).length;
  const which = form.querySelector("select[name=which]");
  if (which && which.value === "all") return which.selectedOptions[0].textContent;
  if (boxes === 0) return null;
  return `${boxes} ${boxes === 1 ? button.dataset.one || "delivery" : button.dataset.many || "deliveries"}`;
}

function ask(question, label, danger) {
  const dialog = document.createElement("dialog");
  const form = document.createElement("form");
  form.method = "dialog";
  const text = document.createElement("p");
  text.textContent = question;
  text.id = "question";
  dialog.setAttribute("aria-labelledby", "question");
  const row = document.createElement("div");
  row.className = "actions";
  const yes = document.createElement("button");
  yes.value = "yes";
  yes.textContent = label;
  if (danger) yes.className = "danger";
  row.append(yes);
  if (label !== "Close") {
    const no = document.createElement("button");
    no.value = "no";
    no.className = "secondary";
    no.textContent = "Keep as it is";
    no.autofocus = true;
    row.append(no);
  }
  form.append(text, row);
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

const agreed = new WeakSet();

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const button = event.submitter;
  if (form.method === "dialog") return;
  const question = form.dataset.confirm || button?.dataset.confirm;
  const counts = button?.dataset.ticks;
  if ((question || counts) && !agreed.has(form)) {
    event.preventDefault();
    const what = counts ? ticked(form, button) : "";
    if (what === null) {
      await ask("Tick at least one first.", "Close", false);
      return;
    }
    if (question) {
      const label = button?.textContent.trim() || "Yes";
      if (!(await ask(question.replace("{n}", what), label, button?.classList.contains("danger")))) return;
    }
    agreed.add(form);
    form.requestSubmit(button);
    return;
  }
  agreed.delete(form);
  document.documentElement.classList.add("is-loading");
});

addEventListener("pageshow", () => document.documentElement.classList.remove("is-loading"));

// What was done is said in a corner, and goes away unless somebody reads it with pointer or keyboard.
for (const toast of document.querySelectorAll(".toast")) {
  let timer = 0;
  const leave = () => (timer = setTimeout(() => toast.remove(), 8000));
  const stay = () => clearTimeout(timer);
  toast.querySelector("button")?.addEventListener("click", () => toast.remove());
  for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, stay);
  for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, leave);
  leave();
}
