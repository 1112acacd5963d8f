// Ctrl-K: goes to a page, a target, a rule, or what a search finds. A listbox as in the ARIA practices.
const UID = /^[0-9.]{9,64}$/;

export function openPalette() {
  if (document.querySelector("dialog.palette")) return;
  const template = document.querySelector("#palette-template");
  if (!template) return;
  document.body.append(template.content.cloneNode(true));
  const dialog = document.querySelector("dialog.palette");
  new Palette(dialog).open();
}

class Palette {
  constructor(dialog) {
    this.dialog = dialog;
    this.input = dialog.querySelector("input");
    this.list = dialog.querySelector("ul");
    this.entries = [...document.querySelectorAll(".side .navlink")].map((link) => ({
      text: link.textContent.trim(),
      kind: "page",
      link: link.getAttribute("href"),
    }));
    this.at = 0;
  }

  open() {
    this.dialog.addEventListener("close", () => this.dialog.remove());
    this.input.addEventListener("input", () => this.draw());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => this.go(event.target.closest("li")));
    this.dialog.showModal();
    this.draw();
    this.more().catch(() => {});
  }

  async more() {
    const answer = await fetch("/palette", { headers: { accept: "application/json" }, redirect: "error" });
    if (!answer.ok) return;
    this.entries.push(...(await answer.json()).items);
    this.draw();
  }

  found() {
    const words = this.input.value.trim().toLowerCase();
    const fits = this.entries.filter((item) => `${item.text} ${item.kind}`.toLowerCase().includes(words)).slice(0, 12);
    if (words === "") return fits;
    const typed = this.input.value.trim();
    if (UID.test(typed)) fits.unshift({ text: typed, kind: "series", link: `/series/${typed}` });
    fits.push({ text: `Search series for ${typed}`, kind: "search", link: `/series?q=${encodeURIComponent(typed)}` });
    return fits;
  }

  draw() {
    this.at = 0;
    this.list.replaceChildren(
      ...this.found().map((item, index) => {
        const row = document.createElement("li");
        row.id = `palette-${index}`;
        row.setAttribute("role", "option");
        row.dataset.link = item.link;
        const kind = document.createElement("small");
        kind.textContent = item.kind;
        row.append(item.text, kind);
        return row;
      }),
    );
    this.mark();
  }

  mark() {
    const rows = [...this.list.children];
    rows.forEach((row, index) => row.setAttribute("aria-selected", String(index === this.at)));
    rows[this.at]?.scrollIntoView({ block: "nearest" });
    if (rows[this.at]) this.input.setAttribute("aria-activedescendant", rows[this.at].id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const last = this.list.children.length - 1;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      event.preventDefault();
      this.at = Math.max(0, Math.min(last, this.at + steps[event.key]));
      this.mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.go(this.list.children[this.at]);
    }
  }

  go(row) {
    if (row) location.assign(row.dataset.link);
  }
}
