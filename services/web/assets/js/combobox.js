// A field with a list of choices that is fetched while one types: a combobox as in the ARIA practices.
let made = 0;

export class Combobox {
  // find(text, signal) returns [{value, label, detail}]; choose(value) is told what was chosen or typed.
  constructor(input, find, choose, { delay = 120 } = {}) {
    this.input = input;
    this.find = find;
    this.choose = choose;
    this.delay = delay;
    this.at = -1;
    this.options = [];
    this.list = document.createElement("ul");
    this.list.className = "choices";
    this.list.id = `choices-${(made += 1)}`;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", `${input.getAttribute("aria-label") ?? ""} choices`);
    this.list.hidden = true;
    const box = document.createElement("span");
    box.className = "combo";
    input.replaceWith(box);
    box.append(input, this.list);
    for (const [name, value] of [["role", "combobox"], ["aria-expanded", "false"], ["aria-controls", this.list.id], ["aria-autocomplete", "list"], ["autocomplete", "off"]]) input.setAttribute(name, value);
    input.addEventListener("input", () => this.look());
    input.addEventListener("focus", () => this.look());
    input.addEventListener("blur", () => this.close());
    input.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (row) this.take(Number(row.dataset.at));
    });
  }

  look() {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    this.timer = setTimeout(async () => {
      const found = await Promise.resolve(this.find(this.input.value.trim(), signal)).catch(() => []);
      if (!signal.aborted && document.activeElement === this.input) this.draw(found);
    }, this.delay);
  }

  draw(options) {
    this.options = options;
    this.at = -1;
    this.list.replaceChildren(
      ...options.map((option, at) => {
        const row = document.createElement("li");
        row.id = `${this.list.id}-${at}`;
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", "false");
        row.dataset.at = String(at);
        const name = document.createElement("span");
        name.textContent = option.label;
        const detail = document.createElement("small");
        detail.textContent = option.detail ?? "";
        row.append(name, detail);
        return row;
      }),
    );
    this.show(options.length > 0);
  }

  show(open) {
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    if (!open) this.input.removeAttribute("aria-activedescendant");
  }

  close() {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.show(false);
  }

  mark(at) {
    this.at = at;
    [...this.list.children].forEach((row, index) => row.setAttribute("aria-selected", String(index === at)));
    const row = this.list.children[at];
    row?.scrollIntoView({ block: "nearest" });
    if (row) this.input.setAttribute("aria-activedescendant", row.id);
  }

  take(at) {
    const option = this.options[at];
    if (!option) return;
    this.input.value = option.value;
    this.close();
    this.choose(option.value, true);
  }

  key(event) {
    const open = !this.list.hidden;
    if (event.key === "ArrowDown" && !open) this.look();
    else if (event.key === "ArrowDown") this.mark(Math.min(this.at + 1, this.options.length - 1));
    else if (event.key === "ArrowUp" && open) this.mark(Math.max(this.at - 1, 0));
    else if (event.key === "Enter") {
      if (open && this.at >= 0) this.take(this.at);
    } else if (event.key === "Escape" && open) this.close();
    else return;
    event.preventDefault();
  }
}
