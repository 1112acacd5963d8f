// The list of rules: how often each fired, and its order by pointer and by keyboard. Buttons do it without this.
const form = document.querySelector("#order");

function agoOf(text) {
  const seconds = Math.max(0, (Date.now() - new Date(text)) / 1000);
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) if (seconds >= length) return `${Math.floor(seconds / length)} ${unit} ago`;
  return "just now";
}

async function showCounts() {
  const said = document.querySelector("#counted");
  said.textContent = "counting…";
  const answer = await fetch("/rules/_counts", { headers: { accept: "application/json" } }).catch(() => null);
  if (!answer?.ok) {
    said.textContent = "what the rules matched cannot be counted now";
    return;
  }
  const { hits, at } = await answer.json();
  for (const row of form.querySelectorAll("tbody tr")) {
    const own = hits[row.dataset.slug];
    const rule = encodeURIComponent(row.dataset.slug);
    for (const [name, span] of [["day", "24h"], ["week", "7d"]]) {
      const cell = row.querySelector(`[data-hits=${name}]`);
      const number = own?.[name] ?? 0;
      const link = document.createElement("a");
      link.href = `/series?q=rule:${rule}+received:${span}`;
      link.textContent = number.toLocaleString("en");
      cell.replaceChildren(number ? link : "0");
      if (name === "week" && own?.would) cell.append(note(`${own.would} dry`, "muted"));
      if (name === "week" && own?.failed) cell.append(note(`${own.failed} failed`, "bad-text"));
    }
    const last = row.querySelector("[data-hits=last]");
    last.textContent = own?.last ? agoOf(own.last) : "not in 7 d";
    last.classList.toggle("muted", !own?.last);
    if (own?.last) last.title = own.last;
  }
  said.textContent = `matches counted ${agoOf(at)}`;
}

function note(text, look) {
  const made = document.createElement("small");
  made.className = `${look} below`;
  made.textContent = text;
  return made;
}

class Order {
  constructor(table) {
    this.body = table.tBodies[0];
    this.said = document.querySelector("#rules-said");
    for (const handle of table.querySelectorAll(".handle")) {
      handle.hidden = false;
      handle.addEventListener("keydown", (event) => this.key(event, handle));
      handle.addEventListener("pointerdown", (event) => this.grab(event, handle));
      handle.addEventListener("blur", () => this.row && !this.dragging && this.back());
    }
  }

  begin(row) {
    if (this.row === row) return;
    this.row = row;
    this.next = row.nextElementSibling;
    row.classList.add("is-moving");
  }

  place() {
    return [...this.body.rows].indexOf(this.row) + 1;
  }

  key(event, handle) {
    const row = handle.closest("tr");
    const steps = { ArrowUp: -1, ArrowDown: 1 };
    if (event.key in steps) {
      this.begin(row);
      const other = steps[event.key] < 0 ? row.previousElementSibling : row.nextElementSibling;
      if (other) {
        this.moving = true;
        if (steps[event.key] < 0) other.before(row);
        else other.after(row);
        handle.focus();
        this.moving = false;
      }
      this.said.textContent = `Place ${this.place()} of ${this.body.rows.length}`;
    } else if (event.key === "Enter" && this.row) this.save();
    else if (event.key === "Escape" && this.row) this.back();
    else return;
    event.preventDefault();
  }

  grab(event, handle) {
    if (event.button !== 0) return;
    event.preventDefault();
    handle.focus();
    this.begin(handle.closest("tr"));
    this.dragging = true;
    handle.setPointerCapture(event.pointerId);
    const move = (at) => {
      const over = document.elementFromPoint(at.clientX, at.clientY)?.closest("tr");
      if (!over || over === this.row || over.parentElement !== this.body) return;
      const box = over.getBoundingClientRect();
      this.moving = true;
      if (at.clientY < box.top + box.height / 2) over.before(this.row);
      else over.after(this.row);
      this.moving = false;
    };
    const drop = () => {
      handle.removeEventListener("pointermove", move);
      this.dragging = false;
      if (this.row?.nextElementSibling === this.next) this.back();
      else this.save();
    };
    handle.addEventListener("pointermove", move);
    handle.addEventListener("pointerup", drop, { once: true });
    handle.addEventListener("pointercancel", () => this.back(), { once: true });
  }

  save() {
    if (this.row.nextElementSibling === this.next) {
      this.back();
      return;
    }
    form.elements.place.value = String(this.place());
    form.action = `/rules/${this.row.dataset.slug}/move`;
    this.row = null;
    form.requestSubmit();
  }

  back() {
    const row = this.row;
    if (!row || this.moving) return;
    this.row = null;
    this.dragging = false;
    if (this.next) this.next.before(row);
    else this.body.append(row);
    row.classList.remove("is-moving");
    this.said.textContent = "";
  }
}

if (form) {
  showCounts();
  const table = form.querySelector("table");
  if (table.querySelector(".handle")) new Order(table);
}

// The report on an old configuration is fetched, so that the file stays chosen.
document.querySelector("#mercure")?.addEventListener("submit", async (event) => {
  if (event.submitter?.value !== "report") return;
  event.preventDefault();
  const body = new FormData(event.target);
  body.set("do", "report");
  const answer = await fetch("/rules/_mercure", { method: "POST", body }).catch(() => null);
  const page = new DOMParser().parseFromString((await answer?.text()) ?? "", "text/html");
  const report = document.querySelector("#report");
  const found = page.querySelector("#report");
  const banner = page.querySelector("main .banner");
  report.replaceChildren(...(banner ? [banner] : []), ...(found?.childNodes ?? []));
  if (!found) report.textContent = "The router does not answer.";
  document.querySelector(".nojs-again")?.remove();
  const actions = event.target.querySelector(".actions");
  const add = page.querySelector('button[value="add"]');
  if (add && !actions.querySelector('[value="add"]')) actions.append(add);
  document.documentElement.classList.remove("is-loading");
  report.tabIndex = -1;
  report.focus();
});
