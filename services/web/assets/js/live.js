// <live-news src="…" part="#results" kind="count|refresh">: says when something happened on the bus.
// count: "12 new – show"; nothing moves below the pointer. refresh: the part is fetched again. Both can be paused.
import { refresh } from "./swap.js";

const PAUSED = "hermes-live-paused";

class LiveNews extends HTMLElement {
  connectedCallback() {
    this.status = this.querySelector("[data-status]");
    this.show = this.querySelector("[data-show]");
    this.toggle = this.querySelector("[data-toggle]");
    this.toggle.hidden = false;
    this.seen = () => this.wanted && !this.paused && this.fetch();
    document.addEventListener("visibilitychange", this.seen);
    document.addEventListener("close", this.seen, true); // of a dialog
    this.toggle.addEventListener("click", () => this.pause(!this.paused));
    this.show?.addEventListener("click", () => this.take());
    this.pause(sessionStorage.getItem(PAUSED) === "yes");
  }

  disconnectedCallback() {
    document.removeEventListener("visibilitychange", this.seen);
    document.removeEventListener("close", this.seen, true);
    this.source?.close();
  }

  pause(value) {
    this.paused = value;
    sessionStorage.setItem(PAUSED, value ? "yes" : "no");
    this.toggle.textContent = value ? "Resume" : "Pause";
    this.toggle.setAttribute("aria-pressed", String(value));
    this.classList.toggle("is-paused", value);
    this.source?.close();
    if (value) this.say("paused");
    else this.open();
  }

  open() {
    this.say("connecting");
    this.source = new EventSource(this.getAttribute("src"));
    this.source.addEventListener("open", () => this.say("live"));
    this.source.addEventListener("error", () => this.say("connection lost, trying again", true));
    this.source.addEventListener("state", (event) => {
      const { away } = JSON.parse(event.data);
      this.say(away || "live", away !== "");
    });
    this.source.addEventListener("news", (event) => this.heard(JSON.parse(event.data)));
  }

  say(text, lost = false) {
    this.status.textContent = text;
    this.classList.toggle("is-lost", lost);
  }

  async heard(news) {
    if (this.getAttribute("kind") === "refresh") {
      await this.fetch();
      return;
    }
    if (!this.show) return;
    this.show.hidden = news.count === 0;
    this.show.textContent = `${news.count}${news.more ? "+" : ""} new – show`;
  }

  // One after the other: an answer that comes late must not take the place of a newer one.
  async fetch() {
    this.wanted = true;
    if (this.fetching) return;
    this.fetching = true;
    while (this.wanted && !document.hidden && !document.querySelector("dialog[open]")) {
      this.wanted = false;
      await refresh(this.getAttribute("part")).catch(() => this.say("cannot be fetched", true));
    }
    this.fetching = false;
  }

  async take() {
    const address = new URL(location.href);
    address.searchParams.delete("cursor");
    location.assign(address);
  }
}
customElements.define("live-news", LiveNews);
